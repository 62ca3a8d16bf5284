// The runtime suite against a real Docker Engine. Leaves nothing behind but the sandbox image.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#kube/base/clock.ts';
import { containerConfig, runtimeConformance, sandboxConfig } from '../conformance/runtime.ts';
import { DockerClient } from '../../agent/runtime/docker-client.ts';
import { PodCgroups } from '../../agent/runtime/pod-cgroup.ts';
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
      podCgroups: new PodCgroups({ root: '/sys/fs/cgroup', run: async () => {} }, systemClock),
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

  describe('what only a real engine can show', () => {
    const pod = { uid: 'uid-real', name: 'real', namespace: 'default' };
    const memoryLimit = '/sys/fs/cgroup/memory/flotilla/poduid-real/memory.limit_in_bytes';
    let sandbox = '';
    let container = '';
    const run = async (...command: string[]) =>
      (await runtime.exec(container, command, 5_000)).output.trim();

    beforeAll(async () => {
      sandbox = await runtime.runSandbox({
        ...sandboxConfig(pod),
        hostname: 'web',
        domain: 'db.default.svc.cluster.local',
        limits: { cpuShares: 512, cpuQuotaMicros: 50_000, memoryBytes: 2 ** 26 },
      });
      const devices = [
        { hostPath: '/dev/net/tun', containerPath: '/dev/net/tun' },
        { hostPath: '/dev/net/tun', containerPath: '/dev/by-name/tunnel' },
      ];
      container = await runtime.createContainer({
        ...containerConfig(pod, sandbox, { image, inPodCgroup: true, devices }),
        security: {
          ...containerConfig(pod, sandbox, {}).security,
          user: '1000',
          supplementalGroups: [4242],
        },
      });
      await runtime.startContainer(container);
    });

    it('keeps all of a pod within what it was given as a whole, in a cgroup that goes with it', async () => {
      expect(readFileSync(memoryLimit, 'utf8').trim()).toBe(String(2 ** 26));
      const own = `:memory:/flotilla/poduid-real/${container}`;
      const pid = (await runtime.getPod(pod)).containers[0]?.pid;
      expect(readFileSync(`/proc/${pid}/cgroup`, 'utf8')).toContain(own);
    });

    it('names the pod in full', async () => {
      expect(await run('hostname')).toBe('web');
      expect(await run('hostname', '-f')).toBe('web.db.default.svc.cluster.local');
    });

    it('gives a container its devices by every name, and no others', async () => {
      expect(await run('stat', '-c', '%t:%T', '/dev/net/tun', '/dev/by-name/tunnel')).toBe(
        'a:c8\na:c8',
      );
      expect(await run('sh', '-c', 'ls /dev/fuse 2>&1')).toContain('No such file');
      expect(await run('id', '-G')).toBe('0 4242');
    });

    it('shares memory of the size of a volume at /dev/shm', async () => {
      const volume = join(directory, 'shm');
      mkdirSync(volume);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=300m', 'tmpfs', volume]);
      try {
        const mounts = [
          { hostPath: volume, containerPath: '/dev/shm', readOnly: false, propagation: 'rprivate' },
        ] as const;
        const config = containerConfig(pod, sandbox, { image, name: 'shm', mounts });
        const other = await runtime.createContainer(config);
        await runtime.startContainer(other);
        const { output } = await runtime.exec(other, ['df', '-m', '/dev/shm'], 5_000);
        expect(output).toMatch(/ 300 /);
        await runtime.removeContainer(other);
      } finally {
        execFileSync('umount', [volume]);
      }
    });

    it('leaves no cgroup behind', async () => {
      await runtime.removeContainer(container);
      const observed = await runtime.getPod(pod);
      await runtime.removeSandbox(observed.sandboxes[0]?.id ?? '');
      expect(existsSync(memoryLimit)).toBe(false);
      const left = readdirSync('/sys/fs/cgroup').filter((name) =>
        existsSync(`/sys/fs/cgroup/${name}/flotilla/poduid-real`),
      );
      expect(left).toEqual([]);
    });
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
