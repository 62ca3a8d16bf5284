// What a machine asks for that the leader chose to keep the state: the control plane's package, its invitation, whether it is a
// member, and to be let go. The chain lets nodes in (role flotilla:control-plane-machine); here each gets only its own.
import {
  badRequest,
  forbiddenPath,
  hasReason,
  serviceUnavailable,
} from '#kube/machinery/status.ts';
import type { Node } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { nodes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import {
  controlPlanePorts,
  controlPlaneTargetAnnotation,
  noControlPlane,
} from '#kube/machinery/control-planes.ts';
import type { UserInfo } from '../../apiserver/http.ts';
import type { Group } from './group.ts';
import { readRecord, writeRecord } from './record.ts';

export interface ReplicaPathsDeps {
  /** With the rights of `control-plane-replicas`. */
  readonly client: () => Pick<RestClient, 'get' | 'create' | 'update' | 'patch'>;
  /** Undefined: an etcd keeps the state. */
  readonly group: Group | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

const userPrefix = 'system:node:';

/**
 * The file by which the node that asks becomes a member: only for whom the leader chose, and until it was heard of. One that
 * asks again, because the answer was lost, gets another, and the first is good for nothing.
 */
export async function invitationFor(
  user: UserInfo | undefined,
  deps: ReplicaPathsDeps,
): Promise<string> {
  const name = nodeNameOf(user);
  const group = leading(deps);
  const client = deps.client();
  const node = await client.get(nodes, { name });
  const chosen = (await readRecord(client)).get(name);
  if (chosen?.state !== 'chosen' || chosen.uid !== node.metadata.uid)
    throw forbiddenPath(`${name} was not chosen to keep the cluster's state`);
  const earlier = group.report().members.find((member) => member.name === name);
  if (earlier?.health === 'running')
    throw forbiddenPath(`${name} has its invitation already, and is a member`);
  if (earlier !== undefined) await group.remove(name);
  const invitation = await group.invite(name, `${addressOf(node)}:${controlPlanePorts.member}`);
  deps.logger.info('A machine is invited to keep the state', { node: name });
  return invitation;
}

/** Whether its copy of the state counts. */
export function isMember(user: UserInfo | undefined, deps: ReplicaPathsDeps): boolean {
  const name = nodeNameOf(user);
  return leading(deps)
    .report()
    .members.some((member) => member.name === name);
}

/** Takes the node that asks out of the group, before its machine is cleared. Throws in words when the others need it. */
export async function leaveGroup(
  user: UserInfo | undefined,
  deps: ReplicaPathsDeps,
): Promise<void> {
  const name = nodeNameOf(user);
  const group = leading(deps);
  const client = deps.client();
  const own = group.report().members.find((member) => member.name === name);
  // Who leads hands over first, and the one that leads then is asked.
  if (own !== undefined) await group.remove(name);
  const node = await client.get(nodes, { name }).catch(unlessMissing);
  deps.logger.info('A machine left those that keep the state', { node: name });
  // Its Node was deleted first.
  if (node === undefined) return writeRecord(client, name, undefined);
  const why = 'it was taken out on the machine itself';
  const { uid = '' } = node.metadata;
  await writeRecord(client, name, { uid, state: 'failed', sinceMs: deps.clock.now(), why });
  const annotations = { [controlPlaneTargetAnnotation]: noControlPlane };
  await client.patch(nodes, { name }, { metadata: { annotations } });
}

function unlessMissing(error: unknown): undefined {
  if (!hasReason(error, 'NotFound')) throw error;
}

function nodeNameOf(user: UserInfo | undefined): string {
  const { name = '', groups = [] } = user ?? {};
  if (!groups.includes('system:nodes') || !name.startsWith(userPrefix))
    throw forbiddenPath('this is for machines of the cluster, by their own certificates');
  return name.slice(userPrefix.length);
}

function leading({ group }: ReplicaPathsDeps): Group {
  if (group === undefined)
    throw badRequest("The state is kept by an etcd (--datastore): use etcd's own tools for it.");
  const { members, problem } = group.report();
  const leader = members.find(({ isLeader }) => isLeader);
  if (leader?.isSelf === true) return group;
  throw serviceUnavailable(
    problem ?? `${leader?.name ?? 'another member'} leads, and has to be asked`,
  );
}

/** As other members reach it. */
function addressOf({ metadata, status }: Node): string {
  const found = status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
  if (found !== undefined) return found;
  throw badRequest(`The Node ${metadata.name} has no address yet`);
}
