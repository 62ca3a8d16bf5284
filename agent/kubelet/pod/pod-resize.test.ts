import { describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import { admitResize } from './pod-resize.ts';

/** `given`: what its status says that it has. */
function podOf(cpu: string, given?: string): Pod {
  const requests = { cpu, memory: '64Mi' };
  const had: Record<string, string> = given === undefined ? {} : { ...requests, cpu: given };
  const status = { image: 'i', imageID: '', name: 'web', ready: true, restartCount: 0 };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', uid: cpu },
    spec: { containers: [{ name: 'web', resources: { requests } }] },
    status: {
      containerStatuses: [
        given === undefined
          ? status
          : { ...status, allocatedResources: had, resources: { requests: had } },
      ],
    },
  };
}

const allocatable = { cpu: 4, memory: '1Gi' };
const cpuOf = ({ spec }: Pod) => spec.containers[0]?.resources?.requests?.['cpu'];

describe('a resize', () => {
  const cases = [
    { name: 'that fits', pod: podOf('2', '1'), others: [podOf('2')], cpu: '2' },
    { name: 'of what was never given', pod: podOf('9'), others: [], cpu: '9' },
    { name: 'to less is always taken', pod: podOf('8', '9'), others: [podOf('4')], cpu: '8' },
    {
      name: 'beyond the node is infeasible',
      pod: podOf('5', '1'),
      others: [],
      cpu: '1',
      pending: {
        reason: 'Infeasible',
        message: "Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000",
      },
    },
    {
      name: 'beyond what others leave is deferred; they count with what they have',
      pod: podOf('3', '1'),
      others: [podOf('1', '2')],
      cpu: '1',
      pending: {
        reason: 'Deferred',
        message:
          "Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000",
      },
    },
  ];
  it.each(cases)('$name', ({ pod, others, cpu, pending }) => {
    const admitted = admitResize(pod, { allocatable, others });
    expect([cpuOf(admitted.pod), admitted.pending]).toEqual([cpu, pending]);
  });

  it('on a node of unknown size is taken', () => {
    expect(admitResize(podOf('5', '1'), { allocatable: {}, others: [] }).pending).toBeUndefined();
  });
});
