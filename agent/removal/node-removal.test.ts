import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { containerConfig, sandboxConfig } from '../../test/conformance/runtime.ts';
import { FakeRuntime } from '../runtime/fake-runtime.ts';
import { RuntimeError } from '../runtime/runtime.ts';
import { NodeRemoval, type NodeRemovalDeps } from './node-removal.ts';

let root: string;
let data: string;
let logs: string;
let runtime: FakeRuntime;
let said: string[];
let mounts: string[];
let networks: string[];
let commands: string[];

beforeEach(async () => {
  root = mkdtempSync(path.join(tmpdir(), 'flotilla-removal-'));
  data = path.join(root, 'agent');
  logs = path.join(root, 'logs');
  for (const folder of ['pods/u/volumes', 'volumes'])
    mkdirSync(path.join(data, folder), { recursive: true });
  mkdirSync(logs);
  for (const name of ['cluster-id', 'kubeconfig']) writeFileSync(path.join(data, name), 'x');
  for (const name of ['agent.log', 'agent.1.log', 'audit.log'])
    writeFileSync(path.join(logs, name), '');
  said = [];
  commands = [];
  mounts = [];
  networks = ['flotilla-1'];
  runtime = new FakeRuntime(new ManualClock());
  runtime.addImage('web:1');
  const pod = { uid: 'u', name: 'web', namespace: 'default' };
  const sandbox = await runtime.runSandbox(sandboxConfig(pod));
  const id = await runtime.createContainer(containerConfig(pod, sandbox, { image: 'web:1' }));
  await runtime.startContainer(id);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function removal(more: Partial<NodeRemovalDeps> = {}): NodeRemoval {
  return new NodeRemoval({
    runtime,
    nodeName: 'pi',
    nodeNames: async () => ['pi', 'other'],
    networks: {
      list: async () => networks,
      remove: async (name) => void networks.splice(networks.indexOf(name), 1),
    },
    removeImage: async () => true,
    leave: async () => {},
    removeRules: async () => void said.push('rules'),
    removeRoutes: async () => void said.push('routes'),
    kernelTraces: async () => [],
    removeCgroups: async () => void said.push('control groups'),
    system: {
      readText: async () =>
        mounts.map((point) => `1 2 0:1 / ${point} rw - tmpfs tmpfs rw`).join('\n'),
      async run(command, [point = '']) {
        commands.push(`${command} ${point}`);
        const isBusy = point.endsWith('busy');
        if (!isBusy) mounts = mounts.filter((line) => line.replaceAll('\\040', ' ') !== point);
        return { exitCode: isBusy ? 32 : 0, stdout: '', stderr: isBusy ? 'target is busy' : '' };
      },
    },
    dataDirectory: data,
    logDirectory: logs,
    say: (line) => said.push(line),
    ...more,
  });
}

it('takes away pods with their patience, rules, network, image, mounts, files, and says so', async () => {
  mounts = ['/', `${data}/pods/u/volumes`, `${data}/pods/u/volumes/a\\040b`, `${data}-other/x`];
  expect(await removal().run()).toBe(true);
  expect(await runtime.listPods()).toEqual([]);
  expect(runtime.calls).toContain('stop web 7');
  expect(commands).toEqual([`umount ${data}/pods/u/volumes/a b`, `umount ${data}/pods/u/volumes`]);
  expect([existsSync(data), readdirSync(logs), networks]).toEqual([false, ['audit.log'], []]);
  expect(said).toEqual([
    'removed pod default/web (1 containers)',
    'control groups',
    'rules',
    'routes',
    'removed network flotilla-1',
    'removed the sandbox image',
    `unmounted ${data}/pods/u/volumes/a b`,
    `unmounted ${data}/pods/u/volumes`,
    'compared: 4 traces of the cluster before, 0 after',
    `removed ${data}`,
  ]);
});

it('does not believe that all is gone, but looks', async () => {
  expect(await removal({ kernelTraces: async () => ['flotilla_1234'] }).run()).toBe(false);
  expect(said).toContain('could not remove all of it: still there: flotilla_1234');
  expect(existsSync(data)).toBe(true);
});

it('takes the folder of logs, too, when nothing but its own is in it', async () => {
  rmSync(path.join(logs, 'audit.log'));
  expect([await removal().run(), existsSync(logs)]).toEqual([true, false]);
});

it('finds nothing the second time, and that is fine', async () => {
  await removal().run();
  said = [];
  expect(await removal().run()).toBe(true);
  expect(said).toEqual([`nothing to remove: ${data} is not there`]);
});

it('keeps the data of claims, and says where it is', async () => {
  writeFileSync(path.join(data, 'volumes/photo'), 'x');
  expect(await removal().run()).toBe(true);
  expect(readdirSync(data)).toEqual(['volumes']);
  expect(readdirSync(path.join(data, 'volumes'))).toEqual(['photo']);
  expect(said).toContain(`kept ${data}/volumes: what is in it is not ours`);
});

it('leaves the disks that people mounted for claims and manifests, empty ones too', async () => {
  mkdirSync(path.join(data, 'volumes/photos'));
  mkdirSync(path.join(data, 'manifests'));
  mounts = [`${data}/volumes/photos`, `${data}/manifests`, `${data}/pods/u/volumes`];
  expect(await removal().run()).toBe(true);
  expect(commands).toEqual([`umount ${data}/pods/u/volumes`]);
  expect(readdirSync(data).toSorted()).toEqual(['manifests', 'volumes']);
  expect(readdirSync(path.join(data, 'volumes'))).toEqual(['photos']);
});

const failures: { name: string; more: Partial<NodeRemovalDeps>; mounted?: string; want: string }[] =
  [
    {
      name: 'an engine that is gone',
      more: {
        runtime: {
          ...({} as Record<'stopContainer' | 'removeContainer' | 'removeSandbox', never>),
          listPods: () => Promise.reject(new RuntimeError('unavailable', 'no socket')),
        },
      },
      want: 'could not remove containers: no socket',
    },
    {
      name: 'a network that others are in',
      more: {
        networks: {
          list: async () => ['n'],
          remove: () => Promise.reject(new RuntimeError('other', 'has active endpoints')),
        },
      },
      want: 'could not remove networks: has active endpoints',
    },
    {
      name: 'a mount that is busy',
      more: {},
      mounted: 'pods/u/busy',
      want: 'target is busy',
    },
  ];
it.each(failures)(
  'goes on past $name, keeps its directory and says what is left',
  async (given) => {
    if (given.mounted !== undefined) mounts = [path.join(data, given.mounted)];
    expect(await removal(given.more).run()).toBe(false);
    expect(said.filter((line) => line.startsWith('could not remove')).join()).toContain(given.want);
    expect(said).toContain('rules');
    expect(said.at(-1)).toBe(`kept ${data}, so that this can be run again`);
    expect(existsSync(path.join(data, 'cluster-id'))).toBe(true);
  },
);

it('leaves an image that others use', async () => {
  const conflict = () => Promise.reject(new RuntimeError('conflict', 'used'));
  expect(await removal({ removeImage: conflict }).run()).toBe(true);
  expect(said).toContain('kept the sandbox image: other containers are made of it');
});

const others: { name: string; given: readonly string[] }[] = [
  { name: "people's", given: ['volumes'] },
  { name: 'of kubectl', given: ['kubeconfig', 'pods'] },
  { name: "a member's", given: ['kubeconfig', 'pki', 'store'] },
  { name: "a member's and an agent's", given: ['cluster-id', 'pki'] },
  { name: 'of the store and an agent', given: ['serving.key', 'store'] },
];
it.each(others)('touches no folder that is $name', async ({ given }) => {
  const other = path.join(root, 'photos');
  for (const name of given) mkdirSync(path.join(other, name), { recursive: true });
  expect(await removal({ dataDirectory: other }).run()).toBe(false);
  expect(said).toEqual([`could not remove ${other}: it is not an agent's data directory`]);
  expect(readdirSync(other).toSorted()).toEqual(given);
  expect(runtime.calls.some((call) => call.startsWith('stop'))).toBe(false);
});

it('does nothing by the name of another node', async () => {
  const nodeNames = async () => ['nas', 'nas'];
  expect(await removal({ nodeNames }).run()).toBe(false);
  expect(said).toEqual([
    'could not remove containers: none is of node pi, but some of nas: is --node-name right?',
  ]);
  expect([existsSync(path.join(data, 'cluster-id')), networks]).toEqual([true, ['flotilla-1']]);
});
