import { describe, expect, it } from 'vitest';
import type { Node, Pod, Taint, Toleration } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { tolerates } from '#kube/machinery/tolerations.ts';
import { evictionTimeMs, taintsFor } from './taints.ts';

const nowMs = 1_700_000_000_000;
const now = rfc3339(nowMs);

function node(ready: string, taints: Taint[] = [], unschedulable = false): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'n' },
    spec: { taints, unschedulable },
    status: { conditions: [{ type: 'Ready', status: ready }] },
  };
}

function asleep(ready: string, taints: Taint[]): Node {
  const awake = node(ready, taints);
  const conditions = [...(awake.status?.conditions ?? []), { type: 'Asleep', status: 'True' }];
  return { ...awake, status: { conditions } };
}

describe('taints of a node', () => {
  const own: Taint = { key: 'gpu', effect: 'NoSchedule' };
  const unreachable = 'node.kubernetes.io/unreachable';
  const notReady = 'node.kubernetes.io/not-ready';
  const cases: { name: string; node: Node; mayEvict?: boolean; want: Taint[] }[] = [
    { name: 'a ready node keeps those of others', node: node('True', [own]), want: [own] },
    {
      name: 'a node that says it is not ready',
      node: node('False', [own]),
      want: [
        own,
        { key: notReady, effect: 'NoSchedule', timeAdded: now },
        { key: notReady, effect: 'NoExecute', timeAdded: now },
      ],
    },
    {
      name: 'a node nobody hears of',
      node: node('Unknown', [{ key: notReady, effect: 'NoExecute' }]),
      want: [
        { key: unreachable, effect: 'NoSchedule', timeAdded: now },
        { key: unreachable, effect: 'NoExecute', timeAdded: now },
      ],
    },
    {
      name: 'when no node is ready nobody is evicted',
      node: node('Unknown', [{ key: unreachable, effect: 'NoExecute' }]),
      mayEvict: false,
      want: [{ key: unreachable, effect: 'NoSchedule', timeAdded: now }],
    },
    {
      name: 'nobody is evicted from a node that sleeps, and nobody sent there',
      node: asleep('Unknown', [{ key: unreachable, effect: 'NoExecute' }]),
      want: [
        { key: unreachable, effect: 'NoSchedule', timeAdded: now },
        { key: 'flotilla.dev/asleep', effect: 'NoSchedule', timeAdded: now },
      ],
    },
    {
      name: 'a node that woke up',
      node: node('True', [{ key: 'flotilla.dev/asleep', effect: 'NoSchedule' }]),
      want: [],
    },
    {
      name: 'a cordoned node',
      node: node('True', [], true),
      want: [{ key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule', timeAdded: now }],
    },
    {
      name: 'a taint that stays keeps its time',
      node: node(
        'True',
        [{ key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule', timeAdded: 'then' }],
        true,
      ),
      want: [{ key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule', timeAdded: 'then' }],
    },
  ];
  it.each(cases)('$name', ({ node: given, mayEvict = true, want }) => {
    expect(taintsFor(given, mayEvict, nowMs)).toEqual(want);
  });
});

describe('tolerations', () => {
  const taint: Taint = { key: 'k', value: 'v', effect: 'NoExecute' };
  const cases: { toleration: Toleration; want: boolean }[] = [
    { toleration: { key: 'k', value: 'v' }, want: true },
    { toleration: { key: 'k', value: 'w' }, want: false },
    { toleration: { key: 'k', operator: 'Exists' }, want: true },
    { toleration: { operator: 'Exists' }, want: true },
    { toleration: { key: 'k', operator: 'Exists', effect: 'NoSchedule' }, want: false },
    { toleration: { key: 'other', operator: 'Exists' }, want: false },
  ];
  it.each(cases)('$toleration → $want', ({ toleration, want }) => {
    expect(tolerates(toleration, taint)).toBe(want);
  });
});

describe('the time of an eviction', () => {
  const addedMs = nowMs - 100_000;
  const tainted = node('Unknown', [{ key: 'k', effect: 'NoExecute', timeAdded: rfc3339(addedMs) }]);
  const cases: { name: string; tolerations: Toleration[]; want: number | undefined }[] = [
    { name: 'is now without a toleration', tolerations: [], want: nowMs },
    {
      name: 'never comes with one for ever',
      tolerations: [{ key: 'k', operator: 'Exists' }],
      want: undefined,
    },
    {
      name: 'counts from when the taint was added',
      tolerations: [{ key: 'k', operator: 'Exists', tolerationSeconds: 300 }],
      want: addedMs + 300_000,
    },
    {
      name: 'is the earliest of several',
      tolerations: [
        { key: 'k', operator: 'Exists', tolerationSeconds: 300 },
        { operator: 'Exists', tolerationSeconds: 60 },
      ],
      want: addedMs + 60_000,
    },
  ];
  it.each(cases)('$name', ({ tolerations, want }) => {
    const pod: Pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'p' },
      spec: { containers: [], tolerations },
    };
    expect(evictionTimeMs(tainted, pod, nowMs)).toBe(want);
  });
});
