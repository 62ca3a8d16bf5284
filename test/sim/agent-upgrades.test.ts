// A new release comes to machines one at a time, in the real API server: the machines are played, as their agents and
// supervisors do it.
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { InformerFactory } from '#kube/client/informer.ts';
import { nodes } from '#kube/client/resources.ts';
import {
  digestOf,
  targetAnnotation,
  upgradeAnnotation,
  versionAnnotation,
} from '#kube/machinery/agent-versions.ts';
import { createAgentUpgrades } from '../../electron/controlplane/fleet/upgrade/agent-upgrades.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

const old = `0.1.0+${'a'.repeat(12)}`;
const fresh = `0.2.0+${'b'.repeat(12)}`;
const architectures = { x64: fresh, arm64: `0.2.0+${'d'.repeat(12)}` };
const names = ['attic', 'kitchen', 'shelf'];

let sim: SimulatedControlPlane;
let stop: AbortController;

beforeEach(async () => {
  sim = await startControlPlane();
  stop = new AbortController();
  for (const name of names) {
    await sim.addNode(name);
    await annotate(name, { [versionAnnotation]: old });
    await setArchitecture(name, name === 'shelf' ? 'arm64' : 'amd64');
  }
});
afterEach(async () => {
  stop.abort();
  await sim.stop();
});

async function annotate(name: string, annotations: Record<string, string | null>): Promise<void> {
  await sim.client.patch(nodes, { name }, { metadata: { annotations } });
}

async function setArchitecture(name: string, architecture: string): Promise<void> {
  const node = await sim.client.get(nodes, { name });
  const nodeInfo = { ...node.status?.nodeInfo, architecture };
  await sim.client.updateStatus(nodes, { ...node, status: { ...node.status, nodeInfo } } as Node);
}

async function start(): Promise<void> {
  const client = sim.clientAs('system:serviceaccount:kube-system:agent-upgrade', [
    'system:serviceaccounts',
    'system:serviceaccounts:kube-system',
  ]);
  const { clock } = sim;
  const logger = silentLogger;
  const informers = new InformerFactory({ client, clock, random: seededRandom(1), logger });
  const upgrades = createAgentUpgrades({
    client,
    nodes: informers.informer(nodes),
    versionFor: async (architecture) => architectures[architecture],
    isSource: async () => true,
    address: () => 'https://192.168.1.10:7443',
    clock,
    logger,
  });
  informers.start(stop.signal);
  void upgrades.run(stop.signal);
  await sim.settle();
}

/** Machines that were told and did not yet do it. */
async function atIt(): Promise<string[]> {
  const { items } = await sim.client.list(nodes);
  return items
    .filter(({ metadata: { annotations = {} } }) => {
      const { [targetAnnotation]: told, [versionAnnotation]: runs } = annotations;
      return told !== undefined && told !== runs;
    })
    .map(({ metadata }) => metadata.name);
}

async function does(name: string, isGood: boolean): Promise<void> {
  const { metadata } = await sim.client.get(nodes, { name });
  const told = metadata.annotations?.[targetAnnotation] ?? '';
  await annotate(
    name,
    isGood
      ? { [versionAnnotation]: told }
      : { [upgradeAnnotation]: `${digestOf(told)} Failed: ended with code 1` },
  );
  await sim.settle();
}

it('comes to one machine after the other, to each for its architecture', async () => {
  await start();
  for (const name of names) {
    expect(await atIt()).toEqual([name]);
    await does(name, true);
  }
  expect(await atIt()).toEqual([]);
  const { metadata } = await sim.client.get(nodes, { name: 'shelf' });
  expect(metadata.annotations?.[versionAnnotation]).toBe(architectures.arm64);
});

it('goes no further once a machine went back, and nobody is told again', async () => {
  await start();
  await does('attic', true);
  await does('kitchen', false);
  await sim.advance(60_000);
  expect(await atIt()).toEqual(['kitchen']);
  const { metadata } = await sim.client.get(nodes, { name: 'shelf' });
  expect(metadata.annotations?.[targetAnnotation]).toBeUndefined();
});
