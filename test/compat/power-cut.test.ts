// A machine that keeps the whole cluster, with an engine of its own, loses its power while one pod runs and
// another is in the middle of its start; and comes back.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Container, ContainerStatus, Pod } from '#kube/api/core.ts';
import { Cluster, eventually } from '../setup/cluster.ts';
import { savedTestImage, webImage } from '../setup/images.ts';
import { cache } from '../setup/machine.ts';
import { PowerMachine } from '../setup/power-machine.ts';

const machine = new PowerMachine();
/** On its disk, for containers to write down that they ran. */
const marks = mkdtempSync(path.join(tmpdir(), 'flotilla-marks-'));
const cluster = new Cluster(['--no-install'], undefined, { runAs: machine.run, usesDocker: false });
const ran = path.join(marks, 'ran');

beforeAll(async () => {
  writeFileSync(ran, '');
  await machine.start();
  machine.docker(['load'], savedTestImage());
  await cluster.start();
});
afterAll(async () => {
  await machine.destroy();
  await cluster.exited();
  await cluster.destroy();
  rmSync(marks, { recursive: true });
});

/** kubectl on the machine: nobody else is on its network. */
function kubectl(...args: readonly string[]): string {
  const program = path.join(cache, 'bin/kubectl');
  return machine.read([program, '--kubeconfig', cluster.kubeconfig, ...args]);
}

function podOf(name: string, main: string, init: string): Pod {
  const mounts = ['disk', 'memory', 'marks', 'claim'].map((volume) => ({
    name: volume,
    mountPath: `/${volume}`,
  }));
  const container = (own: string, script: string): Container => ({
    name: own,
    image: webImage,
    imagePullPolicy: 'Never',
    command: ['sh', '-c', `echo ${name}-${own} >> /marks/ran; ${script}`],
    volumeMounts: mounts,
  });
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default' },
    spec: {
      terminationGracePeriodSeconds: 1,
      initContainers: [container('init', init)],
      containers: [container('main', main)],
      volumes: [
        { name: 'disk', emptyDir: {} },
        { name: 'memory', emptyDir: { medium: 'Memory' } },
        { name: 'marks', hostPath: { path: marks } },
        { name: 'claim', persistentVolumeClaim: { claimName: name } },
      ],
    },
  };
}

function claimOf(name: string): object {
  const resources = { requests: { storage: '1Mi' } };
  const spec = { accessModes: ['ReadWriteOnce'], resources };
  return { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name }, spec };
}

function apply(...objects: readonly object[]): void {
  const file = path.join(marks, 'manifest');
  const list = { apiVersion: 'v1', kind: 'List', items: objects };
  writeFileSync(file, JSON.stringify(list));
  kubectl('apply', '-f', file);
}

/** Counts its starts on the disk, on the claim and in memory, and logs the counts. */
const counts = [
  'for place in disk claim memory; do echo x >> /$place/starts; done',
  'echo "starts: $(cat /disk/starts | busybox wc -l) $(cat /claim/starts | busybox wc -l) $(cat /memory/starts | busybox wc -l)"',
  "trap 'exit 0' TERM; sleep 600 & wait",
].join('; ');
const waits = 'until [ -e /marks/go ]; do sleep 0.1; done';

function find(name: string): Pod {
  return JSON.parse(kubectl('get', 'pod', name, '-o', 'json')) as Pod;
}

function statuses(name: string): ContainerStatus[] {
  const { status } = find(name);
  return [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
}

const ranTimes = (what: string): number =>
  readFileSync(ran, 'utf8')
    .split('\n')
    .filter((line) => line === what).length;

it('pods run again, once each, with their volumes, logs and true counts', async () => {
  apply(claimOf('runs'), podOf('runs', counts, 'true'));
  kubectl('wait', '--for=condition=Ready', 'pod/runs', '--timeout=60s');
  apply(claimOf('begins'), podOf('begins', counts, waits));
  await eventually(() => ranTimes('begins-init') === 1, 'a pod is in the middle of its start');
  expect(kubectl('logs', 'runs')).toBe('starts: 1 1 1\n');
  await machine.cutPower();
  await cluster.exited();
  writeFileSync(path.join(marks, 'go'), '');

  await machine.start();
  await cluster.start();
  kubectl('wait', '--for=condition=Ready', 'pod/runs', 'pod/begins', '--timeout=60s');

  const running = machine.docker(['ps', '--format', '{{.Names}}']).trim().split('\n');
  const names = running.map((name) => name.split('_').slice(1, 3).join(' '));
  expect(names.toSorted()).toEqual(['POD begins', 'POD runs', 'main begins', 'main runs']);
  // Init containers run again in a new sandbox, as in Kubernetes.
  const restarts = (name: string) => statuses(name).map(({ restartCount }) => restartCount);
  expect([restarts('runs'), restarts('begins')]).toEqual([
    [1, 1],
    [1, 0],
  ]);
  expect(
    ['runs-init', 'runs-main', 'begins-init', 'begins-main'].map((what) => ranTimes(what)),
  ).toEqual([2, 2, 2, 1]);
  expect(statuses('runs')[1]?.lastState?.terminated).toMatchObject({ exitCode: 255 });
  // What was in memory is gone, and nothing else.
  expect(kubectl('logs', 'runs')).toBe('starts: 2 2 1\n');
  expect(kubectl('logs', '--previous', 'runs')).toBe('starts: 1 1 1\n');
  expect(kubectl('logs', 'begins')).toBe('starts: 1 1 1\n');
});
