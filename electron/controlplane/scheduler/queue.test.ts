import { describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { defaultProfile } from './default-profile.ts';
import type { ClusterEvent } from './framework.ts';
import { SchedulingQueue, unschedulableMsMax } from './queue.ts';
import { makeNode, makePod, type NodeShape, type PodShape } from './testing/objects.ts';

function setUp() {
  const clock = new ManualClock();
  let wakes = 0;
  const plugins = defaultProfile.map(({ plugin }) => plugin);
  const queue = new SchedulingQueue({ clock, plugins, onActive: () => wakes++ });
  const popAll = (): string[] => {
    const names: string[] = [];
    for (let next = queue.pop(); next !== undefined; next = queue.pop())
      names.push(next.pod.metadata.name);
    return names;
  };
  return { clock, queue, popAll, wakes: () => wakes };
}

const nodeAdded: ClusterEvent = { type: 'node-added', node: makeNode('new') };

describe('SchedulingQueue', () => {
  it('hands out pods by priority, then in the order they came', () => {
    const { queue, popAll } = setUp();
    for (const [name, priority] of Object.entries({ a: 0, b: 5, c: 0, d: 5 }))
      queue.put(makePod(name, { priority }), false);
    expect(popAll()).toEqual(['b', 'd', 'a', 'c']);
  });

  it('holds a pod once, in its newest version', () => {
    const { queue } = setUp();
    queue.put(makePod('a'), false);
    queue.put(makePod('a', { labels: { version: '2' } }), true);
    expect(queue.pop()?.pod.metadata.labels).toEqual({ version: '2' });
    expect(queue.pop()).toBeUndefined();
  });

  it('forgets deleted pods wherever they are', () => {
    const { queue, popAll, clock } = setUp();
    for (const name of ['active', 'failed', 'refused', 'flying']) queue.put(makePod(name), false);
    popAll();
    queue.addBackoff('uid-failed');
    queue.addUnschedulable('uid-refused', new Set());
    for (const name of ['active', 'failed', 'refused', 'flying']) queue.delete(`uid-${name}`);
    queue.addUnschedulable('uid-flying', new Set());
    clock.advance(unschedulableMsMax);
    expect(popAll()).toEqual([]);
    expect(clock.nextTimerMs()).toBeUndefined();
  });

  it('waits longer after every failure, up to ten seconds', () => {
    const { queue, clock } = setUp();
    queue.put(makePod('a'), false);
    const waits: number[] = [];
    for (let i = 0; i < 6; i++) {
      queue.addBackoff(queue.pop()?.uid ?? '');
      const waitMs = clock.nextTimerMs() ?? -1;
      waits.push(waitMs);
      clock.advance(waitMs - 1);
      expect(queue.pop()).toBeUndefined();
      clock.advance(1);
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000, 10_000, 10_000]);
  });

  it('keeps a refused pod until an event, and then for what is left of its backoff', () => {
    const { queue, clock, popAll, wakes } = setUp();
    queue.put(makePod('a'), false);
    popAll();
    queue.addUnschedulable('uid-a', new Set(['NodeResourcesFit']));
    clock.advance(400);
    queue.move(nodeAdded);
    expect(queue.sizes).toEqual({ active: 0, backoff: 1, unschedulable: 0 });
    expect(clock.nextTimerMs()).toBe(600);
    clock.advance(600);
    expect(wakes()).toBe(2);
    expect(popAll()).toEqual(['a']);
  });

  it('tries a refused pod again after five minutes, event or not', () => {
    const { queue, clock, popAll } = setUp();
    queue.put(makePod('a'), false);
    popAll();
    queue.addUnschedulable('uid-a', new Set(['NodeName']));
    clock.advance(unschedulableMsMax - 1);
    expect(popAll()).toEqual([]);
    clock.advance(1);
    expect(popAll()).toEqual(['a']);
  });

  it('tries a refused pod again when its spec changes, not when its status does', () => {
    const { queue, clock, popAll } = setUp();
    queue.put(makePod('a'), false);
    popAll();
    queue.addUnschedulable('uid-a', new Set(['NodeAffinity']));
    clock.advance(60_000);
    queue.put(makePod('a'), false);
    expect(popAll()).toEqual([]);
    queue.put(makePod('a'), true);
    expect(popAll()).toEqual(['a']);
  });
});

describe('an event brings back only pods that it may help', () => {
  const taints = [{ key: 'k', effect: 'NoSchedule' }];
  const added = (shape: NodeShape): ClusterEvent => ({
    type: 'node-added',
    node: makeNode('a', shape),
  });
  const updated = (before: NodeShape, after: NodeShape): ClusterEvent => ({
    type: 'node-updated',
    old: makeNode('a', before),
    node: makeNode('a', after),
  });
  const left = (shape: PodShape): ClusterEvent => ({
    type: 'assigned-pod-removed',
    pod: makePod('other', shape),
  });
  const came: ClusterEvent = { type: 'assigned-pod-changed', pod: makePod('other') };
  const big = { requests: { cpu: '3' } };
  const cases: [refusedBy: string, pod: PodShape, event: ClusterEvent, want: boolean][] = [
    ['NodeResourcesFit', big, left({}), true],
    ['NodeResourcesFit', big, came, false],
    ['NodeResourcesFit', big, added({}), true],
    ['NodeResourcesFit', big, added({ allocatable: { cpu: '2' } }), false],
    ['NodeResourcesFit', big, updated({ allocatable: { cpu: '2' } }, {}), true],
    ['NodeResourcesFit', big, updated({}, { labels: { x: 'y' } }), false],
    ['TaintToleration', {}, updated({ spec: { taints } }, {}), true],
    ['TaintToleration', {}, updated({}, { spec: { taints } }), false],
    ['TaintToleration', {}, added({ spec: { taints } }), false],
    ['TaintToleration', {}, left({}), false],
    ['NodeUnschedulable', {}, updated({ spec: { unschedulable: true } }, {}), true],
    ['NodeUnschedulable', {}, updated({}, { labels: { x: 'y' } }), false],
    ['NodeAffinity', { nodeSelector: { x: 'y' } }, updated({}, { labels: { x: 'y' } }), true],
    ['NodeAffinity', { nodeSelector: { x: 'y' } }, updated({}, { labels: { x: 'z' } }), false],
    ['NodeAffinity', { nodeSelector: { x: 'y' } }, left({}), false],
    ['NodePorts', { hostPorts: [80] }, left({ hostPorts: [80] }), true],
    ['NodePorts', { hostPorts: [80] }, left({ hostPorts: [81] }), false],
    ['PodTopologySpread', {}, came, true],
    ['NodeName', { nodeName: 'a' }, left({}), false],
  ];
  it.each(cases)('%s %j %j: %s', (refusedBy, shape, event, want) => {
    const { queue, clock } = setUp();
    const pod: Pod = makePod('web', shape);
    queue.put(pod, false);
    queue.addUnschedulable(queue.pop()?.uid ?? '', new Set([refusedBy]));
    clock.advance(60_000);
    queue.move(event);
    expect(queue.pop() !== undefined).toBe(want);
  });

  it('brings back a pod if any of those that refused it hopes', () => {
    const { queue, clock } = setUp();
    queue.put(makePod('web'), false);
    queue.addUnschedulable(
      queue.pop()?.uid ?? '',
      new Set(['TaintToleration', 'NodeResourcesFit']),
    );
    clock.advance(60_000);
    queue.move(left({}));
    expect(queue.pop()?.uid).toBe('uid-web');
  });
});
