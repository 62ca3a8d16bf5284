// A machine is taken out while its pods run and its cluster is gone: the agent's own command clears everything away.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { pods } from '#kube/client/resources.ts';
import { Cluster } from '../setup/cluster.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';
import { root } from '../setup/machine.ts';

const cluster = new Cluster();

beforeAll(async () => {
  ensureTestImages();
  await cluster.start();
});
afterAll(() => cluster.destroy());

/** Of every hierarchy. */
function cgroupsOf(uid: string): string[] {
  const hierarchies = ['.', ...readdirSync('/sys/fs/cgroup')];
  const folders = hierarchies.map((one) => path.join('/sys/fs/cgroup', one, `flotilla/pod${uid}`));
  return folders.filter((folder) => existsSync(folder));
}

it('leaves nothing of a pod that runs, its own control group included', async () => {
  await cluster.apply(`
apiVersion: v1
kind: Pod
metadata: {name: limited}
spec:
  resources: {requests: {memory: 64Mi}, limits: {memory: 64Mi}}
  terminationGracePeriodSeconds: 0
  containers: [{name: a, image: '${webImage}', command: [sleep, '1000']}]
`);
  await cluster.kubectlOk('wait', '--for=condition=Ready', 'pod/limited', '--timeout=60s');
  const name = { namespace: 'default', name: 'limited' };
  const { metadata } = await (await cluster.client()).get(pods, name);
  expect(cgroupsOf(metadata.uid ?? '')).not.toEqual([]);
  await cluster.stop();
  const { dataDirectory } = cluster;
  const data = path.join(dataDirectory, 'agent');
  const node = readFileSync(path.join(dataDirectory, 'node-name'), 'utf8').trim();
  const args = [path.join(root, 'out/agent/main.js'), '--data', data, '--node-name', node];
  const said = execFileSync(process.execPath, [...args, '--remove'], { encoding: 'utf8' });
  expect(said).toContain('removed pod default/limited (1 containers)');
  expect(said).toContain('the cluster was not told');
  expect(cgroupsOf(metadata.uid ?? '')).toEqual([]);
  expect(existsSync(data)).toBe(false);
});
