// The cluster's state moves onto machines of the home by itself, and closing the laptop stops nothing. Three machines join by
// the line; each gets a control plane of its own. Node is the one that the tests run on, in a package as small as a
// shell script; systemd is a stand-in.
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { MembersReport } from '#kube/api/flotilla.ts';
import { packArchive } from '../../electron/controlplane/fleet/package/archive.ts';
import type {
  Architecture,
  LockedRuntimes,
} from '../../electron/controlplane/fleet/package/locked-runtimes.ts';
import { runtimeFile } from '../../electron/controlplane/fleet/package/machine-package.ts';
import { npmRuntimes } from '../../electron/controlplane/fleet/package/runtime-source.ts';
import { LabCluster } from '../lab/lab-cluster.ts';
import type { LabMachine } from '../lab/lab-machine.ts';
import { eventually } from '../setup/cluster.ts';
import { savedTestImage, webImage } from '../setup/images.ts';
import { cache, root } from '../setup/machine.ts';
import { clusterCommand } from '../setup/members.ts';

/** Votes and choices after moments, not minutes. */
const quick = 'FLOTILLA_VOTER_STABLE_MS=300';
const home = new LabCluster();
const names = ['pi1', 'pi2', 'pi3'];
const slowMs = 240_000;

beforeAll(async () => {
  const [name = '', value = ''] = quick.split('=');
  await home.start({
    flags: ['--always-on', 'no', '--node-name', 'laptop'],
    env: { [name]: value },
  });
  const locked = JSON.parse(
    readFileSync(path.join(root, 'out/agent/runtimes.json'), 'utf8'),
  ) as LockedRuntimes;
  const packages = path.join(home.cluster.dataDirectory, 'packages');
  const runtime = npmRuntimes({ locked, modules: [] });
  const script = `#!/bin/sh\nexec ${process.execPath} "$@"\n`;
  const bytes = await packArchive([{ name: 'bin/node', mode: 0o755, data: Buffer.from(script) }]);
  await mkdir(packages, { recursive: true });
  const architecture = process.arch as Architecture;
  writeFileSync(await runtimeFile(architecture, { cache: packages, runtime }), bytes);
}, slowMs);
afterAll(() => home.destroy());

function pi(name: string): LabMachine {
  const found = home.lab.machines.find((machine) => machine.name === name);
  if (found === undefined) throw new Error(`no machine ${name}`);
  return found;
}

async function join(name: string, host: number): Promise<void> {
  const machine = await home.lab.addMachine(name, '10.77.0', host);
  copyFileSync(path.join(root, 'test/lab/systemctl.sh'), machine.file('/usr/local/bin/systemctl'));
  await machine.run('chmod', '755', '/usr/local/bin/systemctl');
  await machine.run('mkdir', '-p', '/etc/systemd/system');
  const { dataDirectory } = home.cluster;
  const { stdout } = await clusterCommand('machine-command', name, '--data', dataDirectory);
  await machine.run('sh', '-c', stdout.trim());
  machine.loadImage(savedTestImage());
  await machine.run('sh', '-c', `echo ${quick} >> /var/lib/flotilla/settings`);
}

/** By the control plane of that machine, as its administrator. */
async function kubectl(name: string, ...args: readonly string[]): Promise<string> {
  const config = '/var/lib/flotilla/controlplane/state/kubeconfig';
  const program = path.join(cache, 'bin/kubectl');
  return pi(name).run(program, '--kubeconfig', config, '--request-timeout=10s', ...args);
}

async function report(name: string): Promise<MembersReport> {
  return JSON.parse(await kubectl(name, 'get', '--raw', '/flotilla/members')) as MembersReport;
}

function shape({ members }: MembersReport): string[] {
  return members.map(({ name, role }) => `${name} ${role}`).toSorted();
}

it(
  'machines get the state by themselves, and the laptop is a copy beside them',
  async () => {
    for (const [index, name] of names.entries()) await join(name, 11 + index);
    await eventually(
      async () =>
        (await home.cluster.kubectlOk('get', 'nodes', '--no-headers')).match(/ Ready /g)?.length ===
        3,
      'three nodes are ready',
    );
    const want = ['laptop learner', 'pi1 voter', 'pi2 voter', 'pi3 voter'];
    await eventually(
      async () => {
        const text = await home.cluster.kubectlOk('get', '--raw', '/flotilla/members');
        expect(shape(JSON.parse(text) as MembersReport)).toEqual(want);
        return true;
      },
      'three machines vote',
      slowMs,
    );
    const sentence = "jsonpath={.metadata.annotations['flotilla\\.dev/control-plane']}";
    await eventually(
      async () =>
        (await home.cluster.kubectlOk('get', 'node', 'pi1', '-o', sentence)).startsWith(
          "Keeps the cluster's state, with one of 3 votes",
        ),
      'it is said on the Node',
    );
    // Whoever reads it has the cluster: it is gone once it was used, and only root may look.
    const left = 'ls /var/lib/flotilla/controlplane; stat -c %a /var/lib/flotilla/controlplane';
    await eventually(async () => {
      const seen = await pi('pi1').run('sh', '-c', left);
      return !seen.includes('invitation') && seen.trim().endsWith('700');
    }, 'the invitation is gone');
  },
  slowMs * 2,
);

it(
  'the laptop is closed: a deploy works, and a pod that is killed is healed',
  async () => {
    await home.cluster.stop();
    const [one = '', two = ''] = names;
    await eventually(
      async () => (await kubectl(one, 'get', '--raw', '/readyz')) === 'ok',
      'it serves without the laptop',
    );
    await kubectl(one, 'create', 'deployment', 'web', `--image=${webImage}`, '--replicas=2');
    const podNames = async (): Promise<string[]> => {
      const text = await kubectl(two, 'get', 'pods', '--no-headers');
      const running = text.split('\n').filter((line) => line.includes(' Running '));
      return running.map((line) => line.split(' ')[0] ?? '');
    };
    await eventually(async () => (await podNames()).length === 2, 'two pods run', slowMs);
    const [killed = ''] = await podNames();
    await kubectl(two, 'delete', 'pod', killed, '--now');
    await eventually(async () => {
      const found = await podNames();
      return found.length === 2 && !found.includes(killed);
    }, 'another one runs in its place');
  },
  slowMs * 2,
);

it(
  'a machine that is taken out leaves the group first',
  async () => {
    const said = await pi('pi3').run('/var/lib/flotilla/current/programs/remove');
    expect(said).toContain("pi3 keeps no copy of the cluster's state any more");
    expect(await pi('pi3').run('sh', '-c', 'ls /var/lib/flotilla 2>&1 || :')).toContain('No such');
    const { members } = await report('pi1');
    expect(members.map(({ name }) => name).toSorted()).toEqual(['laptop', 'pi1', 'pi2']);
  },
  slowMs,
);
