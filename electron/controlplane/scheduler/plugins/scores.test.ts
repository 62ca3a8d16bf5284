import { describe, expect, it } from 'vitest';
import { seededRandom } from '#kube/base/random.ts';
import type { Plugin } from '../framework.ts';
import type { NodeInfo } from '../node-info.ts';
import { podInfoOf } from '../node-info.ts';
import { schedulePod } from '../schedule-pod.ts';
import { defaultProfile } from '../default-profile.ts';
import { makeNode, makePod, nodeInfo, type PodShape } from '../testing/objects.ts';
import { balancedAllocation } from './balanced-allocation.ts';
import { imageLocality, normalizedImageName } from './image-locality.ts';
import { nodeAffinity } from './node-affinity.ts';
import { nodeResourcesFit } from './node-resources-fit.ts';
import { podTopologySpread } from './pod-topology-spread.ts';
import { taintToleration } from './taint-toleration.ts';

const megabyte = 1024 * 1024;

/** Normalized scores by node; 'skip' when the plugin does not take part. */
function scores(plugin: Plugin, shape: PodShape, nodes: readonly NodeInfo[]): unknown {
  const state = new Map<string, unknown>();
  const pod = podInfoOf(makePod('web', shape));
  if (plugin.preScore?.(state, pod, nodes, { nodes }) === 'skip') return 'skip';
  const raw = nodes.map((node) => plugin.score?.(state, pod, node) ?? 0);
  const final = plugin.normalizeScore?.(raw) ?? raw;
  return Object.fromEntries(nodes.map((node, i) => [node.name, final[i]]));
}

describe('scores', () => {
  it('NodeResourcesFit prefers the node with most left', () => {
    const nodes = [
      nodeInfo(makeNode('empty', { allocatable: { cpu: '4', memory: '4Gi' } })),
      nodeInfo(makeNode('half', { allocatable: { cpu: '4', memory: '4Gi' } }), [
        makePod('a', { requests: { cpu: '2', memory: '2Gi' } }),
      ]),
      nodeInfo(makeNode('full', { allocatable: { cpu: '1', memory: '1Gi' } }), [
        makePod('b', { requests: { cpu: '1', memory: '1Gi' } }),
      ]),
    ];
    const requests = { cpu: '1', memory: '1Gi' };
    expect(scores(nodeResourcesFit, { requests }, nodes)).toEqual({ empty: 75, half: 25, full: 0 });
  });

  it('NodeResourcesFit counts a little for pods that ask for nothing', () => {
    const shape = { allocatable: { cpu: '1', memory: '1000Mi' } };
    const nodes = [
      nodeInfo(makeNode('empty', shape)),
      nodeInfo(makeNode('busy', shape), [makePod('a'), makePod('b')]),
    ];
    expect(scores(nodeResourcesFit, {}, nodes)).toEqual({ empty: 85, busy: 55 });
  });

  it('NodeResourcesBalancedAllocation prefers even use, and leaves pods without requests alone', () => {
    const nodes = [
      nodeInfo(makeNode('even', { allocatable: { cpu: '2', memory: '2Gi' } })),
      nodeInfo(makeNode('odd', { allocatable: { cpu: '2', memory: '8Gi' } })),
    ];
    const requests = { cpu: '1', memory: '1Gi' };
    expect(scores(balancedAllocation, { requests }, nodes)).toEqual({ even: 100, odd: 81 });
    expect(scores(balancedAllocation, {}, nodes)).toBe('skip');
  });

  it('TaintToleration prefers nodes with fewer taints the pod would rather avoid', () => {
    const taint = (key: string) => ({ key, effect: 'PreferNoSchedule' });
    const nodes = [
      nodeInfo(makeNode('clean')),
      nodeInfo(makeNode('one', { spec: { taints: [taint('a')] } })),
      nodeInfo(makeNode('two', { spec: { taints: [taint('a'), taint('b')] } })),
    ];
    expect(scores(taintToleration, {}, nodes)).toEqual({ clean: 100, one: 50, two: 0 });
    const tolerations = [{ key: 'a', operator: 'Exists' }];
    expect(scores(taintToleration, { tolerations }, nodes)).toEqual({
      clean: 100,
      one: 100,
      two: 0,
    });
  });

  it('NodeAffinity prefers nodes by the weights of what they match', () => {
    const term = (key: string, weight: number) => ({
      weight,
      preference: { matchExpressions: [{ key, operator: 'Exists' }] },
    });
    const preferredDuringSchedulingIgnoredDuringExecution = [term('ssd', 30), term('quiet', 10)];
    const affinity = { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution } };
    const nodes = [
      nodeInfo(makeNode('both', { labels: { ssd: '', quiet: '' } })),
      nodeInfo(makeNode('quiet', { labels: { quiet: '' } })),
      nodeInfo(makeNode('none')),
    ];
    expect(scores(nodeAffinity, { affinity }, nodes)).toEqual({ both: 100, quiet: 25, none: 0 });
    expect(scores(nodeAffinity, {}, nodes)).toBe('skip');
  });

  it('ImageLocality prefers nodes that have big images, less so when few nodes have them', () => {
    const images = { 'web:latest': 523 * megabyte };
    const has = nodeInfo(makeNode('has', { images }));
    const also = nodeInfo(makeNode('also', { images }));
    const lacks = nodeInfo(makeNode('lacks', { images: { 'db:1': 900 * megabyte } }));
    expect(scores(imageLocality, {}, [has, also])).toEqual({ has: 51, also: 51 });
    expect(scores(imageLocality, {}, [has, lacks])).toEqual({ has: 24, lacks: 0 });
  });

  it.each([
    ['web', 'web:latest'],
    ['web:1', 'web:1'],
    ['host:5000/web', 'host:5000/web:latest'],
    ['host:5000/web:1', 'host:5000/web:1'],
  ])('reads image %s as %s', (image, want) => expect(normalizedImageName(image)).toBe(want));

  it('PodTopologySpread prefers hosts and zones with fewer replicas of the same controller', () => {
    const replica = (name: string) => makePod(name, { owner: 'web' });
    const nodes = [
      nodeInfo(makeNode('a'), [replica('1'), replica('2')]),
      nodeInfo(makeNode('b'), [replica('3'), makePod('4', { owner: 'db' })]),
      nodeInfo(makeNode('c'), [makePod('5', { owner: 'db' })]),
    ];
    expect(scores(podTopologySpread, { owner: 'web' }, nodes)).toEqual({ a: 0, b: 50, c: 100 });
    expect(scores(podTopologySpread, {}, nodes)).toBe('skip');
  });
});

describe('placing', () => {
  it('spreads the replicas of a workload evenly over equal nodes', () => {
    const nodes = ['a', 'b', 'c'].map((name) => nodeInfo(makeNode(name)));
    const random = seededRandom(7);
    for (let i = 0; i < 9; i++) {
      const pod = podInfoOf(makePod(`web-${i}`, { owner: 'web' }));
      const result = schedulePod(pod, { nodes }, { profile: defaultProfile, random });
      const chosen = result.type === 'fits' ? result.nodeName : '';
      nodes.find((node) => node.name === chosen)?.addPod(pod);
    }
    expect(nodes.map((node) => node.pods.size)).toEqual([3, 3, 3]);
  });

  it('chooses among equals by Random: the same seed, the same node; other seeds, other nodes', () => {
    const nodes = ['a', 'b', 'c'].map((name) => nodeInfo(makeNode(name)));
    const choose = (seed: number): string => {
      const options = { profile: defaultProfile, random: seededRandom(seed) };
      const result = schedulePod(podInfoOf(makePod('web')), { nodes }, options);
      return result.type === 'fits' ? result.nodeName : '';
    };
    const seeds = Array.from({ length: 30 }, (_, seed) => seed);
    expect(seeds.map(choose)).toEqual(seeds.map(choose));
    expect(new Set(seeds.map(choose))).toEqual(new Set(['a', 'b', 'c']));
  });

  it('weighs: a taint to avoid counts for more than an empty node with the image', () => {
    const taints = [{ key: 'k', effect: 'PreferNoSchedule' }];
    const images = { 'web:latest': 2000 * megabyte };
    const busy = makePod('busy', { requests: { cpu: '3800m', memory: '7600Mi' } });
    const nodes = [
      nodeInfo(makeNode('avoided', { spec: { taints }, images })),
      nodeInfo(makeNode('clean'), [busy]),
    ];
    const options = { profile: defaultProfile, random: seededRandom(1) };
    expect(schedulePod(podInfoOf(makePod('web')), { nodes }, options)).toMatchObject({
      type: 'fits',
      nodeName: 'clean',
      feasibleCount: 2,
    });
  });

  it('keeps a hard spread between domains', () => {
    const constraint = {
      maxSkew: 1,
      topologyKey: 'zone',
      whenUnsatisfiable: 'DoNotSchedule',
      labelSelector: { matchLabels: { app: 'web' } },
    };
    const shape = { labels: { app: 'web' }, topologySpreadConstraints: [constraint] };
    const zones = { a: 'x', b: 'x', c: 'y' };
    const nodes = Object.entries(zones).map(([name, zone]) =>
      nodeInfo(makeNode(name, { labels: { zone } })),
    );
    const random = seededRandom(3);
    for (let i = 0; i < 6; i++) {
      const pod = podInfoOf(makePod(`web-${i}`, shape));
      const result = schedulePod(pod, { nodes }, { profile: defaultProfile, random });
      const chosen = result.type === 'fits' ? result.nodeName : '';
      nodes.find((node) => node.name === chosen)?.addPod(pod);
    }
    expect(nodes[2]?.pods.size).toBe(3);
  });
});
