import { describe, expect, it } from 'vitest';
import type { Container } from '#kube/api/core.ts';
import { podRequests, scoringDefaults } from './pod-resources.ts';

function container(requests: Record<string, string>, restartPolicy?: string): Container {
  const base = { name: 'c', resources: { requests } };
  return restartPolicy === undefined ? base : { ...base, restartPolicy };
}

describe('podRequests', () => {
  const cases = [
    {
      name: 'adds containers up, cpu in thousandths and memory in bytes',
      spec: { containers: [container({ cpu: '250m', memory: '1Ki' }), container({ cpu: '1' })] },
      want: { cpu: 1250, memory: 1024 },
    },
    {
      name: 'takes the greatest init container when it asks for more than all that runs later',
      spec: {
        containers: [container({ cpu: '1', memory: '10' })],
        initContainers: [container({ cpu: '3' }), container({ cpu: '2', memory: '5' })],
      },
      want: { cpu: 3000, memory: 10 },
    },
    {
      name: 'adds a sidecar to the containers and to init containers that start after it',
      spec: {
        containers: [container({ cpu: '1' })],
        initContainers: [
          container({ cpu: '3' }),
          container({ cpu: '2' }, 'Always'),
          container({ cpu: '2' }),
        ],
      },
      want: { cpu: 4000 },
    },
    {
      name: 'adds overhead on top',
      spec: { containers: [container({ cpu: '1' })], overhead: { cpu: '100m', memory: '7' } },
      want: { cpu: 1100, memory: 7 },
    },
    {
      name: "takes the pod's own requests in the place of its containers'",
      spec: {
        containers: [container({ cpu: '1', memory: '10' })],
        resources: { requests: { cpu: '500m' } },
      },
      want: { cpu: 500, memory: 10 },
    },
    {
      name: 'counts extended resources whole',
      spec: { containers: [container({ 'example.com/gpu': '2' })] },
      want: { 'example.com/gpu': 2 },
    },
  ];
  for (const { name, spec, want } of cases)
    it(name, () => expect(Object.fromEntries(podRequests(spec))).toEqual(want));

  it('counts a little for containers that ask for nothing, when scores ask', () => {
    const spec = { containers: [container({}), container({ cpu: '0' })] };
    expect(Object.fromEntries(podRequests(spec, scoringDefaults))).toEqual({
      cpu: 100,
      memory: 400 * 1024 * 1024,
    });
  });
});
