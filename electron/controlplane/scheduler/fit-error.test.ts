import { describe, expect, it } from 'vitest';
import { seededRandom } from '#kube/base/random.ts';
import { defaultProfile } from './default-profile.ts';
import { fitErrorMessage } from './fit-error.ts';
import { podInfoOf, type NodeInfo } from './node-info.ts';
import { schedulePod } from './schedule-pod.ts';
import { makeNode, makePod, nodeInfo, type PodShape } from './testing/objects.ts';

function message(shape: PodShape, nodes: readonly NodeInfo[]): string {
  const options = { profile: defaultProfile, random: seededRandom(1) };
  const result = schedulePod(podInfoOf(makePod('web', shape)), { nodes }, options);
  return result.type === 'fits' ? `fits ${result.nodeName}` : fitErrorMessage(result.error);
}

describe('fitErrorMessage', () => {
  const tainted = { spec: { taints: [{ key: 'k', value: 'v', effect: 'NoSchedule' }] } };
  const small = { allocatable: { cpu: '1' } };

  it("counts reasons over nodes, sorted, in Kubernetes' form", () => {
    const nodes = [
      nodeInfo(makeNode('a', tainted)),
      nodeInfo(makeNode('b', small), [makePod('c', { requests: { cpu: '1' } })]),
      nodeInfo(makeNode('d', tainted)),
    ];
    expect(message({ requests: { cpu: '500m' } }, nodes)).toBe(
      '0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s). ' +
        'preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, ' +
        '2 Preemption is not helpful for scheduling.',
    );
  });

  it('counts every reason of a node', () => {
    const nodes = [nodeInfo(makeNode('a', { allocatable: { cpu: '1', memory: '1Gi' } }))];
    expect(message({ requests: { cpu: '2', memory: '2Gi' } }, nodes)).toBe(
      '0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. ' +
        'preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.',
    );
  });

  it('says that there are no nodes', () =>
    expect(message({}, [])).toBe('no nodes available to schedule pods'));

  it('says why no node was looked at', () => {
    const matchFields = ['a', 'b'].map((name) => ({
      key: 'metadata.name',
      operator: 'In',
      values: [name],
    }));
    const nodeSelectorTerms = [{ matchFields }];
    const affinity = {
      nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } },
    };
    expect(message({ affinity }, [nodeInfo(makeNode('a')), nodeInfo(makeNode('b'))])).toBe(
      '0/2 nodes are available: pod affinity terms conflict. ' +
        'preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.',
    );
  });

  it('says that a pod may not preempt', () =>
    expect(message({ preemptionPolicy: 'Never' }, [nodeInfo(makeNode('a', tainted))])).toBe(
      '0/1 nodes are available: 1 node(s) had untolerated taint(s). ' +
        'preemption: not eligible due to preemptionPolicy=Never.',
    ));
});
