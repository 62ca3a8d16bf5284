import { describe, expect, it } from 'vitest';
import { SchedulerCache } from './cache.ts';
import { podInfoOf } from './node-info.ts';
import { makeNode, makePod } from './testing/objects.ts';

/** Node → CPU asked for there, in thousandths. */
function used(cache: SchedulerCache): Record<string, number> {
  const entries = cache.snapshot().nodes.map((node) => [node.name, node.requested.get('cpu') ?? 0]);
  return Object.fromEntries(entries);
}

function filled(): SchedulerCache {
  const cache = new SchedulerCache();
  cache.setNode(makeNode('b'));
  cache.setNode(makeNode('a'));
  return cache;
}

describe('SchedulerCache', () => {
  const pod = makePod('web', { requests: { cpu: '1' } });
  const placedOn = (nodeName: string, cpu = '1') => makePod('web', { nodeName, requests: { cpu } });

  it('holds resources from the assumption on, once, also after the pod is seen there', () => {
    const cache = filled();
    cache.assume(podInfoOf(pod), 'a');
    expect(used(cache)).toEqual({ a: 1000, b: 0 });
    cache.setPod(placedOn('a'));
    expect(used(cache)).toEqual({ a: 1000, b: 0 });
    cache.forget('uid-web');
    expect(used(cache)).toEqual({ a: 1000, b: 0 });
  });

  it('gives back what a forgotten assumption held', () => {
    const cache = filled();
    cache.assume(podInfoOf(pod), 'a');
    cache.forget('uid-web');
    expect(used(cache)).toEqual({ a: 0, b: 0 });
    expect(cache.isPlaced('uid-web')).toBe(false);
  });

  it('believes what is seen over what was assumed', () => {
    const cache = filled();
    cache.assume(podInfoOf(pod), 'a');
    cache.setPod(placedOn('b'));
    expect(used(cache)).toEqual({ a: 0, b: 1000 });
  });

  it('follows a pod that changes, and one that leaves', () => {
    const cache = filled();
    cache.setPod(placedOn('a', '1'));
    cache.setPod(placedOn('a', '3'));
    expect(used(cache)).toEqual({ a: 3000, b: 0 });
    cache.removePod(placedOn('a', '3'));
    expect(used(cache)).toEqual({ a: 0, b: 0 });
  });

  it('shows no node that is gone, but remembers its pods in case it comes back', () => {
    const cache = filled();
    cache.setPod(placedOn('a'));
    cache.removeNode('a');
    expect(used(cache)).toEqual({ b: 0 });
    cache.setNode(makeNode('a'));
    expect(used(cache)).toEqual({ a: 1000, b: 0 });
  });

  it('counts pods seen before their node', () => {
    const cache = new SchedulerCache();
    cache.setPod(placedOn('a'));
    expect(used(cache)).toEqual({});
    cache.setNode(makeNode('a'));
    expect(used(cache)).toEqual({ a: 1000 });
  });
});
