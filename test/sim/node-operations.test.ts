// Machines that are restarted, put to sleep, shut down and taken out, by the real API server and controllers; the tests play
// their agents.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Node, Pod } from '#kube/api/core.ts';
import type { NodeAction, NodeOperation, NodeOperationStatus } from '#kube/api/fleet.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { configMaps, deployments, machines, nodes, pods } from '#kube/client/resources.ts';
import {
  actionsAnnotation,
  operationAnnotation,
  operationOf,
  operationText,
  wakeRequestOf,
  cardsAnnotation,
  type OperationState,
} from '#kube/machinery/node-operations.ts';
import { scheduleAnnotation, wakeForPodsAnnotation } from '#kube/machinery/power-schedule.ts';
import { removedMachinesRef } from '#kube/machinery/removed-machines.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
let keepers: Map<string, boolean>;
beforeEach(async () => {
  keepers = new Map([['laptop', true]]);
  sim = await startControlPlane({ keepers: () => keepers });
  for (const name of ['pi', 'pc']) {
    await sim.addNode(name);
    const annotations = { [actionsAnnotation]: 'Reboot,ShutDown,Sleep,Remove' };
    await sim.client.patch(nodes, { name }, { metadata: { annotations } });
    const status = { nodeInfo: { bootID: 'first', machineID: `id-of-${name}` } };
    await sim.client.patch(nodes, { name }, { status }, { subresource: 'status' });
  }
  const labels = { app: 'web' };
  await sim.client.create(deployments, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { namespace: 'default', name: 'web' },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels } as unknown as Pod['metadata'],
        spec: { containers: [{ name: 'main', image: 'web:1' }] },
      },
    },
  });
  await sim.settle();
  await sim.runPods('pi');
});
afterEach(() => sim.stop());

async function ask(
  action: NodeAction,
  more: object = { phase: 'Apply' },
  name = 'pi',
  client = sim.client,
): Promise<NodeOperationStatus> {
  const subresource = action === 'Remove' ? 'removal' : 'power';
  const body = {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'NodeOperation',
    metadata: { name },
    spec: { action, ...more },
  };
  const answer = await client.createSubresource(nodes, { name }, subresource, body);
  await sim.settle();
  return (answer as NodeOperation).status!;
}

const pi = (): Promise<Node> => sim.client.get(nodes, { name: 'pi' });

async function state(): Promise<string> {
  const node = await pi();
  const operation = operationOf(node);
  const closed = node.spec.unschedulable === true ? ' closed' : '';
  return `${operation === undefined ? 'none' : `${operation.action} ${operation.state}`}${closed}`;
}

/** As the agent of the machine. */
async function agentSays(next: OperationState, more: object = {}): Promise<void> {
  const operation = operationOf(await pi())!;
  const text = operationText({ ...operation, state: next, ...more });
  const agent = sim.clientAs('system:node:pi', ['system:nodes']);
  const annotations = { [operationAnnotation]: text };
  await agent.patch(nodes, { name: 'pi' }, { metadata: { annotations } });
  await sim.settle();
}

async function becomes(ready: 'True' | 'False' | 'Unknown', bootID = 'first'): Promise<void> {
  const { status } = await pi();
  const conditions = [{ type: 'Ready', status: ready }];
  const nodeInfo = { ...status?.nodeInfo, bootID };
  await sim.client.patch(
    nodes,
    { name: 'pi' },
    { status: { conditions, nodeInfo } },
    { subresource: 'status' },
  );
  await sim.settle();
}

const where = async (): Promise<string[]> =>
  (await sim.client.list(pods)).items.map(({ spec }) => spec.nodeName ?? 'nowhere yet');

describe('a machine that is to restart', () => {
  it('is closed, handed over to its agent, and opened when it is back', async () => {
    expect(await ask('Reboot')).toMatchObject({ phase: 'Asked', message: 'pi is to restart' });
    expect(await state()).toBe('Reboot Due closed');
    await agentSays('Acting', { bootId: 'first' });
    await becomes('False');
    expect(await state()).toBe('Reboot Acting closed');
    await becomes('True', 'second');
    expect(await state()).toBe('none');
    expect(await where()).toEqual(['pi']);
  });

  it('stays closed if it was before', async () => {
    await sim.client.patch(nodes, { name: 'pi' }, { spec: { unschedulable: true } });
    await ask('Reboot');
    await agentSays('Done');
    expect(await state()).toBe('none closed');
  });

  it('is given up, open again and in words, when its agent does not begin', async () => {
    await ask('Reboot');
    await sim.advance(121_000);
    expect(await state()).toBe('Reboot Failed');
    expect(operationOf(await pi())?.message).toBe('The agent of pi did not begin: is it running?');
  });

  it('is asked only once', async () => {
    await ask('Reboot');
    expect(await ask('Sleep')).toMatchObject({
      phase: 'Obstructed',
      obstacles: ['pi is to restart already'],
    });
    expect(await state()).toBe('Reboot Due closed');
  });
});

describe('who only looks', () => {
  it('changes nothing', async () => {
    const planned = await ask('ShutDown', { phase: 'Inspect' });
    expect(planned.pods?.map(({ outcome, why }) => `${outcome}: ${why}`)).toEqual([
      'Moves: It starts on another machine',
    ]);
    expect(await state()).toBe('none');
  });

  it('has to accept warnings before anything is done', async () => {
    keepers = new Map([['pi', true]]);
    expect((await ask('Sleep')).phase).toBe('Planned');
    expect(await state()).toBe('none');
    expect((await ask('Sleep', { phase: 'Apply', acceptWarnings: true })).phase).toBe('Asked');
  });
});

describe('a machine that is to shut down', () => {
  it('goes when what can move has moved', async () => {
    await ask('ShutDown');
    expect(await state()).toBe('ShutDown Leaving closed');
    await sim.runPods('pc');
    expect(await where()).toEqual(['pc']);
    await sim.advance(2_000);
    expect(await state()).toBe('ShutDown Due closed');
  });

  it('may be taken out, or woken, while it is off', async () => {
    await ask('ShutDown');
    await sim.runPods('pc');
    await sim.advance(2_000);
    await agentSays('Acting', { bootId: 'first' });
    await becomes('Unknown');
    expect((await ask('Remove', { phase: 'Inspect' })).obstacles).toBeUndefined();
  });
});

describe('a machine that is taken out', () => {
  it('has its Node deleted at its agent’s last word', async () => {
    await ask('Remove');
    await sim.runPods('pc');
    await sim.advance(2_000);
    await agentSays('Removed', { message: 'removed 3 containers' });
    await expect(pi()).rejects.toThrow('not found');
    await expect(sim.client.get(configMaps, removedMachinesRef)).rejects.toThrow('not found');
  });

  it('and is gone goes without it, and is remembered', async () => {
    await becomes('Unknown');
    const metadata = { name: 'raspberrypi' };
    const seen = { apiVersion: 'flotilla.dev/v1alpha1', kind: 'Machine', metadata } as const;
    const made = await sim.client.create(machines, seen);
    await sim.client.updateStatus(machines, { ...made, status: { nodeName: 'pi' } });
    expect((await ask('Remove')).phase).toBe('Planned');
    await ask('Remove', { phase: 'Apply', acceptWarnings: true });
    await expect(pi()).rejects.toThrow('not found');
    await expect(sim.client.get(machines, metadata)).rejects.toThrow('not found');
    const { data } = await sim.client.get(configMaps, removedMachinesRef);
    expect(data?.['pi']).toContain('id-of-pi');
  });

  it('and comes back is refused as a node, in words, until it is added again', async () => {
    await becomes('Unknown');
    await ask('Remove', { phase: 'Apply', acceptWarnings: true });
    const agent = sim.clientAs('system:node:pi', ['system:nodes']);
    const node = (machineID: string): Node =>
      ({
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'pi' },
        spec: {},
        status: { nodeInfo: { machineID } },
      }) as Node;
    await expect(agent.create(nodes, node('id-of-pi'))).rejects.toThrow(
      /was taken out of the cluster .* while it was gone: .*programs\/remove/,
    );
    await agent.create(nodes, node('id-of-new'));
  });
});

describe('who may', () => {
  it('restarts no machine without the right to, and takes none out with that one', async () => {
    const nobody = sim.clientAs('somebody');
    await expect(ask('Reboot', { phase: 'Inspect' }, 'pi', nobody)).rejects.toThrow('forbidden');
  });

  it('a node asks for nothing', async () => {
    const other = sim.clientAs('system:node:pc', ['system:nodes']);
    await expect(ask('Reboot', { phase: 'Apply' }, 'pi', other)).rejects.toThrow('forbidden');
    const annotations = { [operationAnnotation]: '{}' };
    await expect(other.patch(nodes, { name: 'pi' }, { metadata: { annotations } })).rejects.toThrow(
      'not allowed',
    );
  });

  it('is told what the other subresource is for', async () => {
    const body = { metadata: {}, spec: { phase: 'Apply', action: 'Remove' } };
    await expect(
      sim.client.createSubresource(nodes, { name: 'pi' }, 'power', body as never),
    ).rejects.toThrow('spec.action: Unsupported value: "Remove"');
  });
});

describe('a machine that is to be woken', () => {
  it('is asked for by a mark that others on its network see', async () => {
    await becomes('Unknown');
    const card = {
      name: 'eth0',
      address: 'b8:27:eb:12:34:56',
      network: '192.168.1.20/24',
      wakes: true,
    };
    const annotations = { [cardsAnnotation]: JSON.stringify([card]) };
    await sim.client.patch(nodes, { name: 'pi' }, { metadata: { annotations } });
    expect((await ask('Wake')).phase).toBe('Asked');
    expect(wakeRequestOf(await pi())?.id).toMatch(/^[a-z0-9]{8}$/);
  });
});

describe('a machine that has hours to be asleep', () => {
  /** Beats, so that it counts as there. */
  async function until(ms: number): Promise<void> {
    for (const end = sim.clock.now() + ms; sim.clock.now() < end;) {
      const { status } = await pi();
      const now = rfc3339(sim.clock.now());
      const conditions = (status?.conditions ?? []).map((one) => ({
        ...one,
        lastHeartbeatTime: now,
      }));
      await sim.client.patch(
        nodes,
        { name: 'pi' },
        { status: { conditions } },
        { subresource: 'status' },
      );
      await sim.advance(Math.min(30_000, end - sim.clock.now()));
    }
  }

  it('is asked to sleep once it is time, and left alone by who wakes it', async () => {
    const at = (minutes: number): string =>
      new Date(Math.ceil(sim.clock.now() / 60_000) * 60_000 + minutes * 60_000)
        .toISOString()
        .slice(11, 16);
    const annotations = { [scheduleAnnotation]: `${at(2)}-${at(60)}` };
    await sim.client.patch(nodes, { name: 'pi' }, { metadata: { annotations } });
    await until(60_000);
    expect(await state()).toBe('none');
    await until(120_000);
    expect(await state()).toBe('Sleep Due closed');
    await agentSays('Acting');
    await agentSays('Done');
    await until(60_000);
    expect(await state()).toBe('none');
  });

  it('is woken when a pod waits that would fit it, if it may be', async () => {
    await becomes('Unknown');
    const card = {
      name: 'eth0',
      address: 'b8:27:eb:12:34:56',
      network: '192.168.1.20/24',
      wakes: true,
    };
    const annotations = {
      [cardsAnnotation]: JSON.stringify([card]),
      [wakeForPodsAnnotation]: 'true',
    };
    await sim.client.patch(nodes, { name: 'pi' }, { metadata: { annotations } });
    const status = { allocatable: { cpu: '2', memory: '1Gi' } };
    await sim.client.patch(nodes, { name: 'pi' }, { status }, { subresource: 'status' });
    const wait = async (name: string, memory: string): Promise<void> => {
      const resources = { requests: { memory } };
      await sim.client.create(pods, {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { namespace: 'default', name },
        spec: { containers: [{ name: 'main', image: 'x', resources }] },
      });
      const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable' };
      const ref = { namespace: 'default', name };
      await sim.client.patch(
        pods,
        ref,
        { status: { conditions: [condition] } },
        { subresource: 'status' },
      );
      await sim.settle();
    };
    await wait('large', '4Gi');
    expect(wakeRequestOf(await pi())).toBeUndefined();
    await wait('small', '100Mi');
    expect(wakeRequestOf(await pi())).toBeDefined();
  });
});
