// The runtime suite against a real Docker Engine. Leaves nothing behind but the sandbox image.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { systemClock } from '#kube/base/clock.ts';
import { runtimeConformance } from '../conformance/runtime.ts';
import { DockerClient } from '../../agent/runtime/docker-client.ts';
import { DockerRuntime } from '../../agent/runtime/docker-runtime.ts';

const socketPath = '/var/run/docker.sock';
const image = 'flotilla-test/busybox:1';
const spareImage = ['flotilla-test/spare:1', 'flotilla-test/other-spare:2'] as const;

if (existsSync(socketPath)) {
  const directory = mkdtempSync(join(tmpdir(), 'flotilla-runtime-'));
  const clusterId = `test-${process.pid}`;
  const client = new DockerClient(socketPath);
  const make = () =>
    new DockerRuntime({
      client: () => client,
      identity: { clusterId, nodeName: 'test-node' },
      clock: systemClock,
    });
  const runtime = make();

  runtimeConformance('docker', async () => {
    importBusybox();
    makeSpareImage();
    const message = join(directory, 'termination-log');
    writeFileSync(message, '');
    return {
      runtime,
      image,
      spareImage,
      missingImage: '127.0.0.1:1/nosuch:1',
      restarted: make,
      real: true,
      terminationMessageHostPath: message,
    };
  });

  // Registered before the suite's own, so it runs after it.
  afterAll(async () => {
    await client.removeNetwork((await runtime.network()).name);
    rmSync(directory, { recursive: true });
  });
}

/** One of its own, since an image with a child can't go. */
function makeSpareImage(): void {
  const [name, another] = spareImage;
  const script = `tar -C /usr/bin -c busybox | docker import - ${name} >/dev/null`;
  execFileSync('sh', ['-c', script]);
  execFileSync('docker', ['tag', name, another]);
}

/** An image with nothing but a static busybox. */
function importBusybox(): void {
  const present = execFileSync('docker', ['images', '-q', image], { encoding: 'utf8' });
  if (present.trim() !== '') return;
  const script =
    'set -e; d=$(mktemp -d); chmod 755 $d; mkdir -p $d/bin $d/tmp; cp /usr/bin/busybox $d/bin/; ' +
    'for a in $(busybox --list | grep -vx busybox); do ln -sf busybox $d/bin/$a; done; ' +
    `tar -C $d -c . | docker import - ${image} >/dev/null; rm -rf $d`;
  execFileSync('sh', ['-c', script]);
}
