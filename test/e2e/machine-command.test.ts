// A machine that nobody may log in to becomes a node by one line that is run on it, gets other agents while its containers run,
// goes back from one that is broken, and is as it was when it is taken out again. Its Node is the one that the tests run on, in a package as small as a shell script; how large a real one is, and that
// it runs, the benchmark shows (fleet package). systemd is a stand-in.
import { execFile } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { nodes, pods } from '#kube/client/resources.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { commandLine, placement } from '../../electron/controlplane/fleet/package/placement.ts';
import { LabCluster } from '../lab/lab-cluster.ts';
import type { LabMachine } from '../lab/lab-machine.ts';
import { plantRuntime } from '../lab/planted-runtime.ts';
import { eventually } from '../setup/cluster.ts';
import { savedTestImage, webImage } from '../setup/images.ts';
import { root } from '../setup/machine.ts';

const execute = promisify(execFile);
const home = new LabCluster();
let pi: LabMachine;

beforeAll(async () => {
  await home.start();
  pi = await home.lab.addMachine('pi', '10.77.0', 11);
  for (const name of ['systemctl', 'systemd-run']) {
    copyFileSync(path.join(root, `test/lab/${name}.sh`), pi.file(`/usr/local/bin/${name}`));
    await pi.run('chmod', '755', `/usr/local/bin/${name}`);
  }
  await pi.run('mkdir', '-p', '/etc/systemd/system', '/run/systemd/system');
  await plantRuntime(home.cluster.dataDirectory);
});
afterAll(() => home.destroy());

/** What is printed to be copied. */
async function line(name: string): Promise<string> {
  const { dataDirectory } = home.cluster;
  const args = ['electron/cluster-command.ts', 'machine-command', name, '--data', dataDirectory];
  return (await execute(process.execPath, args, { cwd: root })).stdout.trim();
}

/** With its complaints. */
async function said(command: string): Promise<string> {
  return pi.run('sh', '-c', `{ ${command} || echo failed; } 2>&1`);
}

async function traces(): Promise<string> {
  const looks = [
    'ls -R /etc/systemd/system /var/lib/flotilla',
    'docker ps -aq',
    'docker network ls --format "{{.Name}}"',
    'nft list ruleset | grep "^table"',
    'ip -o link | cut -d: -f2',
  ];
  return pi.run('sh', '-c', looks.map((look) => `${look} 2>/dev/null`).join('; '));
}

it('becomes a node by the line, once, and is as before when it is taken out from elsewhere', async () => {
  const before = await traces();
  const printed = await line('kitchen');
  expect(printed).toMatch(/^curl -fsS --insecure --pinnedpubkey 'sha256\/\/[^']+' -H 'Authoriz/);
  await pi.run('sh', '-c', printed);
  const client = await home.client();
  await eventually(async () => {
    const { status } = await client.get(nodes, { name: 'kitchen' });
    return getCondition(status?.conditions, 'Ready')?.status === 'True';
  }, 'kitchen is ready');
  expect(await traces()).not.toBe(before);
  // Everything is there already: nothing is copied, and the same machine goes on.
  expect(await pi.run('sh', '-c', printed)).not.toContain('Copying');
  expect(await said(await line('shed'))).toContain(
    'it is the node kitchen already, and would not become shed',
  );
  const asked = {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'NodeOperation',
    metadata: { name: 'kitchen' },
    spec: { phase: 'Apply', action: 'Remove' },
  };
  const answer = await client.createSubresource(nodes, asked.metadata, 'removal', asked);
  expect(answer).toMatchObject({ status: { phase: 'Asked' } });
  await eventually(async () => (await client.list(nodes)).items.length === 0, 'its Node is gone');
  await eventually(async () => (await traces()) === before, 'it is as it was');
});

/** Another agent on that machine, which is the present one but for this. */
async function copyAgent(digest: string, change: string): Promise<void> {
  const copy = `cd /var/lib/flotilla && cp -a "$(readlink current)" agent-${digest} && cd agent-${digest}`;
  await pi.run('sh', '-ec', `${copy}; ${change}`);
}

function programNamed(name: string, digest: string): string {
  return `/var/lib/flotilla/current/programs/${name} ${digest}`;
}

async function annotation(name: string): Promise<string | undefined> {
  const { metadata } = await (await home.client()).get(nodes, { name: 'kitchen' });
  return metadata.annotations?.[`flotilla.dev/${name}`];
}

it('gets the agent of the release, goes back from a broken one, and its containers run on', async () => {
  await pi.run('sh', '-c', await line('kitchen'));
  await eventually(async () => (await annotation('agent-version')) !== undefined, 'it is a node');
  const release = (await annotation('agent-version')) ?? '';
  pi.loadImage(savedTestImage());
  const client = await home.client();
  await client.create(pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace: 'default', name: 'web' },
    spec: { containers: [{ name: 'web', image: webImage, imagePullPolicy: 'IfNotPresent' }] },
  });
  await eventually(async () => {
    const { status } = await client.get(pods, { namespace: 'default', name: 'web' });
    return status?.phase === 'Running';
  }, 'the pod runs');
  const containers = await pi.run('docker', 'ps', '-q', '--no-trunc');

  const old = '0123456789ab';
  await copyAgent(old, `sed -i 's/"version":"[^"]*"/"version":"0.0.1"/' package.json`);
  const current = '/var/lib/flotilla/current';
  const now = (await pi.run('readlink', current)).trim();
  await pi.run('sh', '-ec', `ln -sfn agent-${old} ${current}; rm -rf /var/lib/flotilla/${now}`);
  await pi.run('systemctl', 'restart', 'flotilla-agent.service');
  await eventually(
    async () => (await pi.run('readlink', current)).trim() === now,
    'the agent of the release was fetched and is current again',
  );
  await eventually(async () => (await annotation('agent-version')) === release, 'it says so');
  const trial = 'test -L /var/lib/flotilla/trial || echo over';
  await eventually(async () => (await pi.run('sh', '-c', trial)) === 'over\n', 'it is healthy');

  const broken = 'ba9876543210';
  await copyAgent(broken, 'echo "process.exit(7)" > main.js');
  await pi.run('sh', '-ec', programNamed('try-out', broken));
  await pi.run('systemctl', 'restart', 'flotilla-agent.service');
  await eventually(
    async () => (await annotation('agent-upgrade')) === `${broken} Failed: ended with code 7`,
    'it says what was the matter with the broken one',
  );
  expect((await pi.run('readlink', current)).trim()).toBe(now);
  expect(await pi.run('docker', 'ps', '-q', '--no-trunc')).toBe(containers);
  await client.delete(pods, { namespace: 'default', name: 'web' }, { gracePeriodSeconds: 0 });
  await pi.run('sh', '-c', commandLine(placement.remove, []));
});

it('leaves a machine of another cluster to that', async () => {
  const theirs = '{ "certificate-authority-data": "b3RoZXJz" }';
  const folder = '/var/lib/flotilla';
  const make = `mkdir -p ${folder}/state; echo FLOTILLA_NODE_NAME=attic > ${folder}/settings; echo '${theirs}' > ${folder}/state/kubeconfig`;
  await pi.run('sh', '-ec', make);
  const before = await traces();
  expect(await said(await line('attic'))).toContain(
    'it belongs to another cluster, as its node attic',
  );
  expect(await traces()).toBe(before);
  await pi.run('rm', '-r', folder);
});

it('does nothing where the key is another one, or the token is none', async () => {
  const printed = await line('kitchen');
  const foreign = printed.replaceAll(/sha256\/\/[^']{8}/g, 'sha256//AAAAAAAA');
  expect(await said(foreign)).toContain('public key does not match pinned public key');
  const stolen = printed.replaceAll(/[a-z0-9]{6}\.[a-z0-9]{16}/g, 'aaaaaa.aaaaaaaaaaaaaaaa');
  expect(await said(stolen)).toContain('401');
});
