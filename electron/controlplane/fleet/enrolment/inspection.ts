// Looks at a machine and plans; changes nothing there.
import type { EnrolmentSpec, EnrolmentStatus, Machine } from '#kube/api/fleet.ts';
import type { Node } from '#kube/api/core.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import { isConditionTrue } from '#kube/machinery/conditions.ts';
import {
  factsText,
  readFacts,
  readRootFacts,
  rootFactsText,
  type MachineFacts,
  type RootFacts,
} from './facts.ts';
import { planEnrolment, type EnrolmentPlan, type PlanContext, type SudoAnswer } from './plan.ts';
import type { HostKey, Login, Remote } from './remote.ts';
import { named, outputOf, rootShell, trySudo } from './root-shell.ts';
import { waiting } from './run-steps.ts';
import type { MachinePackage } from './steps.ts';

const packingMs = 15_000;

export interface InspectionDeps {
  readonly machine: Machine;
  readonly spec: EnrolmentSpec;
  readonly nodes: readonly Node[];
  /** All machines. */
  readonly machines: readonly Machine[];
  /** Throws with words. */
  readonly makePackage: (architecture: 'x64' | 'arm64') => Promise<MachinePackage>;
  /** As others reach it, who get to `ownAddress`; undefined: they don't. */
  readonly server: (
    ownAddress: string,
  ) => { readonly address: string; readonly port: number } | undefined;
  readonly clusterCa: string;
  readonly clock: Clock;
}

export interface Inspection {
  readonly facts: MachineFacts;
  readonly plan: EnrolmentPlan;
  /** None where there is an obstacle, or while it is packed. */
  readonly package: MachinePackage | undefined;
  readonly server: string | undefined;
}

/** Throws a RemoteError. */
export async function inspect(
  remote: Remote,
  hostKey: HostKey,
  deps: InspectionDeps,
): Promise<Inspection> {
  const { machine, spec, machines, clock } = deps;
  const facts = readFacts(
    await named('what it tells of itself', outputOf(remote.run('sh', ['-c', factsText]))),
    clock.now(),
  );
  const packing = whatIsCopied(facts, deps);
  const sudo = await sudoAnswer(remote, facts, spec);
  const isRoot = facts.rights === 'root' || facts.rights === 'sudo' || sudo === 'accepted';
  const root = isRoot ? await rootFacts(remote, facts, spec) : undefined;
  const copied = await packing;
  const endpoint = deps.server(remote.ownAddress);
  const server =
    endpoint === undefined ? undefined : `https://${endpoint.address}:${endpoint.port}`;
  const twin = machines.find(
    (one) => one.spec?.hostKey === hostKey.fingerprint && one.metadata.uid !== machine.metadata.uid,
  );
  const context: PlanContext = {
    copied: sizeOf(copied),
    nodes: deps.nodes.map(({ metadata, status }) => ({
      name: metadata.name,
      machineId: status?.nodeInfo?.machineID ?? '',
      isReady: isConditionTrue(status?.conditions, 'Ready'),
    })),
    nodeName: spec.nodeName,
    replaceNode: spec.replaceNode === true,
    sudo,
    server,
    reachesServer:
      endpoint === undefined ? undefined : await remote.reaches(endpoint.address, endpoint.port),
    clusterCa: deps.clusterCa,
    sameHostKey: twin?.metadata.name,
  };
  const plan = planEnrolment(facts, root, context);
  return {
    facts,
    plan,
    package: copied !== undefined && 'problem' in copied ? undefined : copied,
    server,
  };
}

function sizeOf(copied: Copied): PlanContext['copied'] {
  if (copied === undefined) return { bytes: undefined };
  return 'problem' in copied ? copied : { bytes: copied.runtime.bytes + copied.agent.bytes };
}

async function sudoAnswer(
  remote: Remote,
  { rights }: MachineFacts,
  { sudoPassword, password }: EnrolmentSpec,
): Promise<SudoAnswer> {
  const given = sudoPassword ?? password;
  return rights === 'sudo-with-password' && given !== undefined
    ? trySudo(remote, given)
    : undefined;
}

async function rootFacts(
  remote: Remote,
  { rights }: MachineFacts,
  { sudoPassword, password }: EnrolmentSpec,
): Promise<RootFacts> {
  const run = rootShell(remote, rights, sudoPassword ?? password);
  return readRootFacts(await named('what it tells to root (sudo)', outputOf(run(rootFactsText))));
}

type Copied = MachinePackage | { readonly problem: string } | undefined;

/** Undefined: it is still being packed, which takes a minute the first time; a person who only looks has less patience. */
async function whatIsCopied(
  { architecture, bits }: MachineFacts,
  { makePackage, spec, clock }: InspectionDeps,
): Promise<Copied> {
  if (architecture === undefined || bits === 32) return { problem: 'there is nothing for it' };
  const made: Promise<Copied> = makePackage(architecture).catch((error: unknown) => ({
    problem: error instanceof Error ? error.message : String(error),
  }));
  if (spec.phase === 'Apply') return made;
  const enough = new AbortController();
  const waited = delay(clock, packingMs, enough.signal).then(() => undefined);
  return Promise.race([made, waited]).finally(() => enough.abort());
}

/** Of what was seen and planned. */
export function plannedStatus(
  { facts, plan }: Inspection,
  hostKey: HostKey,
  isPinned: boolean,
): EnrolmentStatus {
  const { model, system, machine, hostName, memoryBytes, freeBytes } = facts;
  const seen = { model, system, architecture: machine, hostName, memoryBytes, freeBytes };
  const { nodeName, steps, obstacles, warnings } = plan;
  return {
    phase: obstacles.length > 0 ? 'Obstructed' : 'Planned',
    hostKey: { ...hostKey, isPinned },
    machine: Object.fromEntries(Object.entries(seen).filter(([, value]) => value !== undefined)),
    nodeName,
    steps: steps.map(waiting),
    ...(obstacles.length > 0 && { obstacles: [...obstacles] }),
    ...(warnings.length > 0 && { warnings: [...warnings] }),
  };
}

/** Why nobody got in. `pinned`: the key that a person accepted before. */
export function refusedStatus(
  name: string,
  login: Exclude<Login, { type: 'in' }>,
  { pinned, seen }: { readonly pinned: string | undefined; readonly seen: string | undefined },
): EnrolmentStatus {
  if (login.type === 'unreachable') return { phase: 'Failed', message: login.message };
  const { hostKey: key } = login;
  const hostKey =
    key === undefined ? {} : { hostKey: { ...key, isPinned: key.fingerprint === pinned } };
  if (login.type === 'refused')
    return { phase: 'LoginRefused', message: login.message, ...hostKey };
  const shown = login.hostKey.fingerprint;
  if (pinned !== undefined)
    return {
      phase: 'LoginRefused',
      message:
        `The host key of ${name} is ${shown}, and ${pinned} was accepted before: another machine answers there, or its ` +
        'system was written anew. Nothing was sent to it. If you know that it is the same machine, take spec.hostKey ' +
        `out of the Machine ${name} and look at the new key`,
      ...hostKey,
    };
  return {
    phase: 'HostKeyUnknown',
    message:
      seen === undefined
        ? `Compare this with what ${name} says of itself: ssh-keygen -lf /etc/ssh/ssh_host_${fileOf(login.hostKey.type)}_key.pub`
        : `${name} shows the host key ${shown} now, not ${seen}: nothing was sent to it`,
    ...hostKey,
  };
}

/** `ssh-ed25519` → `ed25519`, `ecdsa-sha2-nistp256` → `ecdsa`. */
function fileOf(type: string): string {
  return type.replace(/^ssh-/, '').split('-')[0] ?? type;
}
