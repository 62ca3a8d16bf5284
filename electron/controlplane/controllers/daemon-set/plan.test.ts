import { describe, expect, it } from 'vitest';
import type { DaemonSet, DaemonSetUpdateStrategy } from '#kube/api/apps.ts';
import type { Node, Pod, PodSpec, Taint } from '#kube/api/core.ts';
import { daemonPod, fitsNode, nodeNameOf, revisionHashLabel } from './daemon-pods.ts';
import { type DaemonView, daemonStatus, planPlacement, planUpdate } from './plan.ts';

function daemonSet(
  spec: Partial<PodSpec> = {},
  updateStrategy?: DaemonSetUpdateStrategy,
): DaemonSet {
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { namespace: 'default', name: 'd', uid: 'd' },
    spec: { selector: {}, template: { spec: { containers: [], ...spec } }, updateStrategy },
  };
}

function node(name: string, taints: Taint[] = [], labels: Record<string, string> = {}): Node {
  return { apiVersion: 'v1', kind: 'Node', metadata: { name, labels }, spec: { taints } };
}

interface PodFacts {
  readonly hash?: string;
  readonly ready?: boolean;
  readonly phase?: string;
  readonly deleting?: boolean;
}

function pod(name: string, nodeName: string, facts: PodFacts = {}): Pod {
  const { hash = 'new', ready = true, phase = 'Running', deleting = false } = facts;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      uid: name,
      labels: { [revisionHashLabel]: hash },
      deletionTimestamp: deleting ? 'now' : undefined,
    },
    spec: { nodeName, containers: [] },
    status: { phase, conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
  };
}

function view(nodes: Node[], pods: Pod[], subject = daemonSet()): DaemonView {
  return { daemonSet: subject, nodes, pods, hash: 'new', nowMs: 0 };
}

function names(pods: readonly Pod[]): string[] {
  return pods.map(({ metadata }) => metadata.name);
}

describe('placement', () => {
  it('puts a pod on every fitting node that has none', () => {
    const tainted = node('c', [{ key: 'gpu', effect: 'NoSchedule' }]);
    const { create, remove } = planPlacement(
      view([node('a'), node('b'), tainted], [pod('p', 'a')]),
    );
    expect([create, remove]).toEqual([['b'], []]);
  });

  it('waits for a pod that is going before it puts another', () => {
    expect(planPlacement(view([node('a')], [pod('p', 'a', { deleting: true })])).create).toEqual(
      [],
    );
  });

  it('keeps a pod where new ones may not go, unless its node throws it out', () => {
    const on = (effect: string): string[] =>
      names(planPlacement(view([node('a', [{ key: 'k', effect }])], [pod('p', 'a')])).remove);
    expect([on('NoSchedule'), on('NoExecute')]).toEqual([[], ['p']]);
  });

  it('keeps one of several and clears away finished ones', () => {
    const many = [pod('p', 'a'), pod('q', 'a'), pod('f', 'a', { phase: 'Failed' })];
    const { remove, finished } = planPlacement(view([node('a')], many));
    expect([names(remove), names(finished)]).toEqual([['f', 'q'], ['f']]);
  });

  it('removes pods meant for a node that is gone', () => {
    const stray = daemonPod(daemonSet(), 'gone', 'new');
    expect(nodeNameOf(stray)).toBe('gone');
    expect(planPlacement(view([node('a')], [stray])).remove).toEqual([stray]);
  });

  it.each([
    { name: 'node selector', spec: { nodeSelector: { disk: 'ssd' } }, want: [true, false] },
    { name: 'node name', spec: { nodeName: 'ssd' }, want: [true, false] },
  ])('respects the $name', ({ spec, want }) => {
    const subject = daemonSet(spec);
    const fits = [node('ssd', [], { disk: 'ssd' }), node('hdd')].map(
      (n) => fitsNode(subject, n).shouldRun,
    );
    expect(fits).toEqual(want);
  });
});

describe('an update', () => {
  const nodes = ['a', 'b', 'c'].map((name) => node(name));
  const old = (name: string, facts: PodFacts = {}): Pod =>
    pod(`old-${name}`, name, { hash: 'old', ...facts });

  it('replaces no more pods than may be unavailable', () => {
    const { remove } = planUpdate(
      view(
        nodes,
        ['a', 'b', 'c'].map((name) => old(name)),
      ),
    );
    expect(names(remove)).toEqual(['old-a']);
  });

  it('waits while a new pod is not available', () => {
    const pods = [pod('new-a', 'a', { ready: false }), old('b'), old('c')];
    expect(planUpdate(view(nodes, pods)).remove).toEqual([]);
  });

  it('replaces at once what is down anyway', () => {
    const pods = [old('a', { ready: false }), old('b', { ready: false }), old('c')];
    expect(names(planUpdate(view(nodes, pods)).remove)).toEqual(['old-a', 'old-b']);
  });

  it('does nothing by itself OnDelete', () => {
    const pods = ['a', 'b', 'c'].map((name) => old(name));
    const subject = daemonSet({}, { type: 'OnDelete' });
    expect(planUpdate(view(nodes, pods, subject))).toEqual({ create: [], remove: [] });
  });

  it('with surge adds the new pod first and removes the old one when it is available', () => {
    const rollingUpdate = { maxSurge: 1, maxUnavailable: 0 };
    const subject = daemonSet({}, { type: 'RollingUpdate', rollingUpdate });
    const start = [old('a'), old('b'), old('c')];
    expect(planUpdate(view(nodes, start, subject))).toEqual({ create: ['a'], remove: [] });
    const waiting = [...start, pod('new-a', 'a', { ready: false })];
    expect(planUpdate(view(nodes, waiting, subject))).toEqual({ create: [], remove: [] });
    const { create, remove } = planUpdate(view(nodes, [...start, pod('new-a', 'a')], subject));
    expect([create, names(remove)]).toEqual([['b'], ['old-a']]);
  });
});

describe('the status', () => {
  it('leaves out the counts that are zero, but for the four that are required', () => {
    expect(daemonStatus(view([], []))).toEqual({
      observedGeneration: undefined,
      desiredNumberScheduled: 0,
      currentNumberScheduled: 0,
      numberMisscheduled: 0,
      numberReady: 0,
    });
  });

  it('counts nodes, not pods', () => {
    const nodes = [node('a'), node('b'), node('c', [{ key: 'k', effect: 'NoSchedule' }])];
    const pods = [pod('p', 'a'), pod('q', 'b', { hash: 'old', ready: false }), pod('r', 'c')];
    expect(daemonStatus(view(nodes, pods))).toMatchObject({
      desiredNumberScheduled: 2,
      currentNumberScheduled: 2,
      numberMisscheduled: 1,
      numberReady: 1,
      numberAvailable: 1,
      numberUnavailable: 1,
      updatedNumberScheduled: 1,
    });
  });
});
