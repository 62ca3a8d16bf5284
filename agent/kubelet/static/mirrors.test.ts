import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Node, Pod } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { forbidden } from '#kube/machinery/status.ts';
import { Mirrors, type MirrorsDeps } from './mirrors.ts';
import { mirrorOf, staticPod } from './static-pod.ts';

const node = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'pi', uid: 'n' },
  spec: {},
} as Node;

let stopping: AbortController;
let clock: ManualClock;
let calls: string[];
let warnings: string[];
let refused: Set<string>;
let shown: string[];
let mirrors: Mirrors;

beforeEach(() => {
  stopping = new AbortController();
  clock = new ManualClock();
  calls = [];
  warnings = [];
  refused = new Set();
  shown = [];
  let number = 0;
  mirrors = new Mirrors({
    client: {
      create: async (_resource: unknown, pod: Pod) => {
        const { name } = pod.metadata;
        calls.push(`create ${name}`);
        if (refused.has(name)) throw forbidden({ group: '', resource: 'pods' }, name, 'quota');
        return { ...pod, metadata: { ...pod.metadata, uid: `made-${++number}` } };
      },
      delete: async (_resource: unknown, { name, uid }: Pod['metadata']) =>
        void calls.push(`delete ${name} ${uid}`),
    } as unknown as MirrorsDeps['client'],
    clock,
    logger: {
      ...silentLogger,
      warn: (_message, fields) => void warnings.push(String(fields?.['pod'])),
    },
    node: async () => node,
    onMirror: (uid) => void shown.push(uid),
    signal: stopping.signal,
  });
});
afterEach(() => stopping.abort());

const podOf = (name: string): Pod =>
  staticPod(
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'ns' },
      spec: { containers: [{ name: 'a', image: 'i' }] },
    },
    `${name}.yaml`,
    'pi',
  );
const uidOf = (pod: Pod): string => pod.metadata.uid ?? '';
const settled = () => new Promise((resolve) => setImmediate(resolve));

it('shows all that can be; what is refused is told once and tried again', async () => {
  refused.add('a-pi');
  const [a, b] = [podOf('a'), podOf('b')];
  mirrors.want([a, b]);
  mirrors.synced();
  await settled();
  expect([calls, shown, warnings]).toEqual([
    ['create a-pi', 'create b-pi'],
    [uidOf(b)],
    ['ns/a-pi'],
  ]);
  clock.advance(1_000);
  await settled();
  expect([calls.slice(2), warnings.length]).toEqual([['create a-pi'], 1]);
  refused.clear();
  clock.advance(2_000);
  await settled();
  expect(shown).toEqual([uidOf(b), uidOf(a)]);
});

it('makes one that is being deleted anew', async () => {
  const pod = podOf('a');
  mirrors.want([pod]);
  mirrors.synced();
  await settled();
  const mirror = mirrors.of(uidOf(pod)) ?? pod;
  mirrors.seen({ ...mirror, metadata: { ...mirror.metadata, deletionTimestamp: 'now' } });
  await settled();
  expect(calls).toEqual(['create a-pi', 'delete a-pi made-1', 'create a-pi']);
});

it('is not confused by the end of the one before', async () => {
  const pod = podOf('a');
  const mirror = (uid: string): Pod => {
    const made = mirrorOf(pod, node);
    return { ...made, metadata: { ...made.metadata, uid } };
  };
  mirrors.seen(mirror('second'));
  mirrors.want([pod]);
  mirrors.synced();
  mirrors.gone(mirror('first'));
  await settled();
  expect([calls, mirrors.of(uidOf(pod))?.metadata.uid]).toEqual([[], 'second']);
  mirrors.gone(mirror('second'));
  await settled();
  expect(calls).toEqual(['create a-pi']);
});
