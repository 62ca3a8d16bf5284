// Puts together what brings the cluster's state onto machines (fleet/replicas, fleet/upgrade): the members, their packages,
// and clients with the rights of each.
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Node } from '#kube/api/core.ts';
import type { Informer, InformerFactory } from '#kube/client/informer.ts';
import { nodes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { isConditionTrue } from '#kube/machinery/conditions.ts';
import type { Options } from '../options.ts';
import type { Backing } from './backing.ts';
import { addressForOthers } from './bind-address.ts';
import type { MachinePackages } from './fleet/package/machine-packages.ts';
import type { Group } from './fleet/replicas/group.ts';
import { readRecord } from './fleet/replicas/record.ts';
import { createReplicas, replicasKey } from './fleet/replicas/replicas.ts';
import { agentsKey, createAgentUpgrades } from './fleet/upgrade/agent-upgrades.ts';
import { createControlPlaneUpgrades, upgradesKey } from './fleet/upgrade/control-plane-upgrades.ts';
import { isReleaseSource } from './fleet/upgrade/release-source.ts';
import { statusOf } from './members/paths.ts';
import { formatInvitation } from './members/invitation.ts';

export interface StateKeepingDeps {
  readonly group: Group | undefined;
  readonly nodeName: string;
  readonly options: Options;
  readonly packages: MachinePackages;
  readonly port: number;
  /** For tests: how long a machine has to be ready, and a learner to be there. */
  readonly voterStableMs: number | undefined;
  /** Each has informers of its own. */
  readonly as: (account: string) => {
    readonly client: RestClient;
    readonly informers: InformerFactory;
  };
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Undefined: an etcd keeps the state. */
export function groupOf({ own }: Pick<Backing, 'own'>): Group | undefined {
  if (own === undefined) return undefined;
  const { members, opened } = own;
  return {
    report: () => members.report(),
    isAlwaysOn: (id) => opened.isAlwaysOn(id),
    invite: (name, address) =>
      inWords(async () => formatInvitation(await members.invite(name, address))),
    remove: (name) => inWords(() => members.remove(name)),
    handOver: () => members.handOver(),
    onChange(listener, signal) {
      signal.addEventListener('abort', opened.replica.onChange(listener));
    },
  };
}

async function inWords<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw statusOf(error);
  }
}

/** While this member leads. */
export async function runReplicas(deps: StateKeepingDeps, signal: AbortSignal): Promise<void> {
  const { group, packages, voterStableMs } = deps;
  if (group === undefined) return;
  const { client, informers } = deps.as('control-plane-replicas');
  const replicas = createReplicas({
    ...deps,
    group,
    client,
    nodes: informers.informer(nodes),
    version: async () => (await packages.controlPlane()).version,
    address: () => addressOf(deps),
    ...(voterStableMs === undefined ? {} : { stableMs: voterStableMs }),
  });
  group.onChange(() => replicas.enqueue(replicasKey), signal);
  handOverBeforeSleep(deps, group, informers.informer(nodes));
  informers.start(signal);
  await replicas.run(signal);
}

/** This machine's own agent says on the Node that it is put to sleep, and holds that back until it is said. */
function handOverBeforeSleep(
  { nodeName, logger }: StateKeepingDeps,
  group: Group,
  informer: Informer<Node>,
): void {
  const isAsleep = ({ metadata, status }: Node): boolean =>
    metadata.name === nodeName && isConditionTrue(status?.conditions, 'Asleep');
  informer.addHandler({
    onUpdate(before, now) {
      if (isAsleep(before) || !isAsleep(now)) return;
      group.handOver().then(
        () => logger.info('Handed leadership over before the machine sleeps'),
        (error: unknown) => logger.warn('Nobody leads while the machine sleeps', { error }),
      );
    },
  });
}

/** All the time: whoever leads, machines get the release of the app. */
export async function runReleases(deps: StateKeepingDeps, signal: AbortSignal): Promise<void> {
  const { group, options, packages } = deps;
  if (options.package !== undefined) return;
  const { client, informers } = deps.as('agent-upgrade');
  const placed = async (): Promise<ReadonlySet<string>> => {
    const record = await readRecord(client);
    const members = [...record].filter(([, { state }]) => state === 'member');
    return new Set(members.map(([name]) => name));
  };
  const shared = { ...deps, client, nodes: informers.informer(nodes) };
  const agents = createAgentUpgrades({
    ...shared,
    versionFor: packages.versionOf,
    address: () => addressOf(deps),
    isSource: async () => group === undefined || isReleaseSource(group.report(), await placed()),
  });
  const running = [agents.run(signal)];
  if (group !== undefined) {
    const controlPlanes = createControlPlaneUpgrades({
      ...shared,
      group,
      placed,
      version: async () => (await packages.controlPlane()).version,
      address: () => addressOf(deps),
    });
    group.onChange(() => {
      agents.enqueue(agentsKey);
      controlPlanes.enqueue(upgradesKey);
    }, signal);
    running.push(controlPlanes.run(signal));
  }
  informers.start(signal);
  await Promise.all(running);
}

function addressOf({ options, port }: StateKeepingDeps): string | undefined {
  const address = addressForOthers(options.bindAddress);
  return address === undefined ? undefined : `https://${address}:${port}`;
}
