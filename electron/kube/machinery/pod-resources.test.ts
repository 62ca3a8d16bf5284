import { describe, expect, it } from 'vitest';
import type { Container, Pod, PodSpec } from '../api/core.ts';
import { templateHash } from './hash.ts';
import { countedSpec, podLimits, podRequests } from './pod-resources.ts';
import { podQosClass } from './qos.ts';

function container(requests: Record<string, string>, more: Partial<Container> = {}): Container {
  return { name: 'c', resources: { requests, limits: requests }, ...more };
}
const sidecar = { restartPolicy: 'Always' };

describe('podRequests and podLimits', () => {
  const cases: [title: string, spec: PodSpec, want: Record<string, number>][] = [
    [
      'adds up containers',
      { containers: [container({ cpu: '100m', memory: '1Ki' }), container({ cpu: '1' })] },
      { cpu: 1100, memory: 1024 },
    ],
    [
      'takes the largest init container where it is more',
      {
        containers: [container({ cpu: '1' })],
        initContainers: [container({ cpu: '3' }), container({ cpu: '2', memory: '5' })],
      },
      { cpu: 3000, memory: 5 },
    ],
    [
      'runs sidecars beside containers',
      { containers: [container({ cpu: '1' })], initContainers: [container({ cpu: '2' }, sidecar)] },
      { cpu: 3000 },
    ],
    [
      'runs sidecars beside later init containers only',
      {
        containers: [container({ cpu: '1' })],
        initContainers: [
          container({ cpu: '4' }),
          container({ cpu: '2' }, sidecar),
          container({ cpu: '3' }),
        ],
      },
      { cpu: 5000 },
    ],
    [
      'adds the overhead',
      { containers: [container({ cpu: '1' })], overhead: { cpu: '250m' } },
      { cpu: 1250 },
    ],
    [
      'lets pod-level resources stand for the sum',
      {
        containers: [container({ cpu: '1', memory: '1' })],
        resources: { requests: { cpu: '4' }, limits: { cpu: '4' } },
      },
      { cpu: 4000, memory: 1 },
    ],
  ];
  it.each(cases)('%s', (_title, spec, want) => {
    expect(podRequests(spec)).toEqual(want);
    expect(podLimits(spec)).toEqual(want);
  });

  it('adds overhead to limits only where there is a limit', () => {
    const spec = { containers: [container({ cpu: '1' })], overhead: { memory: '1Ki' } };
    expect(podLimits(spec)).toEqual({ cpu: 1000 });
    expect(podRequests(spec)).toEqual({ cpu: 1000, memory: 1024 });
  });

  it('counts what is not stated as asked for', () => {
    const spec = { containers: [container({ cpu: '1' }), { name: 'b' }] };
    const missingRequests = { cpu: 100, memory: 200 };
    expect(podRequests(spec, { missingRequests })).toEqual({ cpu: 1100, memory: 400 });
  });
});

describe('podQosClass', () => {
  const both = { cpu: '1', memory: '1Gi' };
  const cases: [want: string, spec: PodSpec][] = [
    ['BestEffort', { containers: [{ name: 'a' }] }],
    ['BestEffort', { containers: [container({ cpu: '0', 'example.com/x': '1' })] }],
    ['Guaranteed', { containers: [container(both)] }],
    ['Guaranteed', { containers: [{ name: 'a', resources: { limits: both } }] }],
    [
      'Guaranteed',
      { containers: [{ name: 'a', resources: { limits: both, requests: { cpu: '1000m' } } }] },
    ],
    ['Burstable', { containers: [container(both), { name: 'b' }] }],
    ['Burstable', { containers: [container({ cpu: '1' })] }],
    [
      'Burstable',
      { containers: [{ name: 'a', resources: { limits: both, requests: { cpu: '1m' } } }] },
    ],
    ['Burstable', { containers: [container(both)], initContainers: [{ name: 'i' }] }],
    ['Guaranteed', { containers: [{ name: 'a' }], resources: { limits: both } }],
  ];
  it.each(cases)('is %s for %j', (want, spec) => {
    expect(podQosClass(spec)).toBe(want);
  });
});

describe('templateHash', () => {
  it('depends on the content, not on the order of keys', () => {
    expect(templateHash({ a: 1, b: { c: 2, d: 3 } })).toBe(
      templateHash({ b: { d: 3, c: 2 }, a: 1 }),
    );
    expect(templateHash({ a: 1 })).not.toBe(templateHash({ a: 2 }));
    expect(templateHash({ a: 1 }, 1)).not.toBe(templateHash({ a: 1 }));
  });

  it('stays what it is: the names of running ReplicaSets hang on it', () => {
    expect(
      templateHash({ spec: { containers: [{ name: 'web', image: 'lab/web:1' }] } }),
    ).toMatchInlineSnapshot(`"5887fb478c"`);
  });

  it('is short and of the safe alphabet', () => {
    expect(templateHash({ x: 'é' })).toMatch(/^[bcdfghjklmnpqrstvwxz2456789]{1,10}$/);
  });
});

describe('what a pod counts for on its node', () => {
  const pod = (allocated: string, has: string, reason?: string): Pod => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p' },
    spec: { containers: [container({ cpu: '50' })] },
    status: {
      containerStatuses: [
        {
          name: 'c',
          image: '',
          imageID: '',
          ready: true,
          restartCount: 0,
          allocatedResources: { cpu: allocated },
          resources: { requests: { cpu: has, memory: '7' } },
        },
      ],
      conditions:
        reason === undefined ? [] : [{ type: 'PodResizePending', status: 'True', reason }],
    },
  });
  it.each([
    ['what it asks for while that may come', pod('1', '2', 'Deferred'), { cpu: 50_000, memory: 7 }],
    ['what it has when that can never be', pod('1', '2', 'Infeasible'), { cpu: 2000, memory: 7 }],
    ['what it has where it asks for less', pod('60', '2'), { cpu: 60_000, memory: 7 }],
  ])('%s', (_, given, want) => {
    expect(podRequests(countedSpec(given))).toEqual(want);
  });

  it('without a status what it asks for', () => {
    const { status: _, ...given } = pod('1', '1');
    expect(countedSpec(given)).toBe(given.spec);
  });
});
