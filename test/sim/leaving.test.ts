// A machine that is taken out of its cluster, as its own account: what others see of it.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import { deployments, nodes, pods } from '#kube/client/resources.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { sayLastWord } from '../../agent/removal/last-word.ts';
import { leaveCluster } from '../../agent/removal/leave.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
  for (const name of ['pi1', 'pi2']) await sim.addNode(name);
  const labels = { app: 'web' };
  await sim.client.create(deployments, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { namespace: 'default', name: 'web' },
    spec: {
      replicas: 2,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels } as unknown as Pod['metadata'],
        spec: { containers: [{ name: 'main', image: 'web:1' }] },
      },
    },
  });
  await sim.settle();
  await sim.runPods('pi1');
});
afterEach(() => sim.stop());

async function leave(): Promise<number> {
  const left = leaveCluster({
    client: sim.clientAs('system:node:pi1', ['system:nodes']),
    nodeName: 'pi1',
    clock: sim.clock,
    signal: new AbortController().signal,
  });
  await sim.advance(4_000);
  return left;
}

async function where(): Promise<string[]> {
  const { items } = await sim.client.list(pods);
  return items.map(({ spec }) => spec.nodeName ?? 'nowhere yet');
}

describe('a machine that leaves', () => {
  it('has no pods any more, others take their place at once, and nothing new is put on it', async () => {
    expect(await where()).toEqual(['pi1', 'pi1']);
    expect(await leave()).toBe(2);
    expect(await where()).toEqual(['nowhere yet', 'nowhere yet']);
    const { spec, status } = await sim.client.get(nodes, { name: 'pi1' });
    expect(getCondition(status?.conditions, 'Ready')).toMatchObject({
      status: 'False',
      reason: 'NodeRemoved',
    });
    expect(spec?.taints?.map(({ key, effect }) => `${key} ${effect}`)).toContain(
      'node.kubernetes.io/not-ready NoSchedule',
    );
  });

  it('has its Node deleted once it said that nothing is left on it', async () => {
    await sayLastWord({
      client: sim.clientAs('system:node:pi1', ['system:nodes']),
      nodeName: 'pi1',
      isFailed: false,
      lines: ['removed pod default/web (1 containers)'],
      clock: sim.clock,
      signal: new AbortController().signal,
    });
    await sim.settle();
    expect((await sim.client.list(nodes)).items.map(({ metadata }) => metadata.name)).toEqual([
      'pi2',
    ]);
  });

  it('whose Node was deleted before takes its pods with it all the same', async () => {
    await sim.client.delete(nodes, { name: 'pi1' });
    expect(await leave()).toBe(2);
    expect(await where()).toEqual(['nowhere yet', 'nowhere yet']);
  });
});
