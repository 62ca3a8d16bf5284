// Brings the cluster's state onto machines of the home, by the plan: runs where the control plane leads. Names a machine on
// its Node and in the record; the machine fetches the rest itself, and gets its invitation only while the record names it.
import type { Node } from '#kube/api/core.ts';
import { unreachable } from '#kube/base/assert.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { Controller } from '#kube/client/controller.ts';
import type { Informer } from '#kube/client/informer.ts';
import { nodes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import {
  controlPlaneAnnotation,
  controlPlaneTargetAnnotation,
  noControlPlane,
  packageSourceAnnotation,
} from '#kube/machinery/control-planes.ts';
import { machineFacts } from './fitness.ts';
import type { Group } from './group.ts';
import {
  nextStep,
  sentenceOf,
  type Chosen,
  type Home,
  type MemberFacts,
  type Step,
} from './plan.ts';
import { readRecord, readWanted, writeRecord } from './record.ts';

export interface ReplicasDeps {
  readonly client: Pick<RestClient, 'get' | 'create' | 'update' | 'patch'>;
  readonly nodes: Informer<Node>;
  readonly group: Group;
  /** Of the control plane that this one hands out. Throws in words. */
  readonly version: () => Promise<string>;
  /** `https://…`, as other machines reach this API server; undefined: none does. */
  readonly address: () => string | undefined;
  /** For tests: how long a machine has to be ready. */
  readonly stableMs?: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What is to be asked for when something other than a Node changed. */
export const replicasKey = 'control planes';
const key = replicasKey;
/** While there is somebody to look after; alone it is asked by changes only. */
const lookMs = 10_000;
/** Less is what is under way between two members that are well. */
const behindEntries = 1_000;

export function createReplicas(deps: ReplicasDeps): Controller {
  const { client, group, clock, logger } = deps;
  const away = new Map<string, number>();
  /** Who can't be given up just now, and why. */
  let refused: { readonly name: string; readonly why: string } | undefined;
  const controller = new Controller({ name: 'control-planes', clock, logger, reconcile });
  controller.watch(deps.nodes, () => [key]);

  async function reconcile(): Promise<{ requeueAfterMs?: number }> {
    const all = deps.nodes.lister.list();
    const home = await homeOf(all);
    if (home.members.length <= 1 && home.machines.every(({ isOurs }) => !isOurs)) return {};
    const step = deps.address() === undefined ? undefined : nextStep(home);
    refused = undefined;
    if (step !== undefined) await attempt(step, all);
    const after = step === undefined ? home : await homeOf(all);
    for (const node of all) await tell(node, after);
    return { requeueAfterMs: lookMs };
  }

  async function homeOf(all: readonly Node[]): Promise<Home> {
    return {
      machines: all.map((node) => machineFacts(node, deps.stableMs)),
      members: members(),
      chosen: await readRecord(client),
      wanted: await readWanted(client),
      nowMs: clock.now(),
    };
  }

  function members(): readonly MemberFacts[] {
    return group.report().members.map(({ id, name, role, health, lag }) => {
      const isRunning = health === 'running';
      if (isRunning) away.delete(name);
      else if (!away.has(name)) away.set(name, clock.now());
      return {
        name,
        isVoter: role === 'voter',
        isAlwaysOn: group.isAlwaysOn(id) ?? true,
        isRunning,
        awaySinceMs: away.get(name),
        hasCaughtUp: lag !== null && lag < behindEntries,
      };
    });
  }

  /** A member that the others can't do without stays, and it is said. */
  async function attempt(step: Step, all: readonly Node[]): Promise<void> {
    try {
      await carryOut(step, all);
    } catch (error) {
      if (step.type !== 'remove' && step.type !== 'fail') throw error;
      refused = { name: step.name, why: error instanceof Error ? error.message : String(error) };
      logger.warn('A machine has to go on keeping the state', { ...refused });
    }
  }

  async function carryOut(step: Step, all: readonly Node[]): Promise<void> {
    const { name } = step;
    logger.info('Who keeps the state changes', { ...step });
    switch (step.type) {
      case 'choose': {
        const version = await deps.version();
        await note(name, { uid: step.uid, state: 'chosen' });
        const source = deps.address() ?? null;
        return annotate(name, {
          [controlPlaneTargetAnnotation]: version,
          [packageSourceAnnotation]: source,
        });
      }
      case 'settle':
        return note(name, { uid: uidOf(name, all), state: 'member' });
      case 'fail':
        await takeOut(name);
        await note(name, { uid: uidOf(name, all), state: 'failed', why: step.why });
        return annotate(name, { [controlPlaneTargetAnnotation]: noControlPlane });
      case 'remove':
        await takeOut(name);
        if (all.some(({ metadata }) => metadata.name === name))
          await annotate(name, { [controlPlaneTargetAnnotation]: noControlPlane });
        return writeRecord(client, name, undefined);
      default:
        return unreachable(step);
    }
  }

  /** Refused, and said, when the others could not do without it. */
  async function takeOut(name: string): Promise<void> {
    if (group.report().members.some((member) => member.name === name)) await group.remove(name);
  }

  function note(name: string, chosen: Omit<Chosen, 'sinceMs'>): Promise<void> {
    return writeRecord(client, name, { ...chosen, sinceMs: clock.now() });
  }

  async function annotate(name: string, annotations: Record<string, string | null>): Promise<void> {
    await client.patch(nodes, { name }, { metadata: { annotations } });
  }

  async function tell({ metadata }: Node, home: Home): Promise<void> {
    const machine = home.machines.find(({ name }) => name === metadata.name);
    if (machine === undefined) return;
    const annotations = metadata.annotations ?? {};
    const more = refused?.name === machine.name ? ` It can't be given up now: ${refused.why}` : '';
    const sentence = `${sentenceOf(home, machine)}${more}`;
    const wanted: Record<string, string> = { [controlPlaneAnnotation]: sentence };
    const address = deps.address();
    // Where a machine asks for its invitation, or to be let go: whoever leads now.
    if (home.chosen.get(machine.name)?.uid === machine.uid && address !== undefined)
      wanted[packageSourceAnnotation] = address;
    const changed = Object.entries(wanted).filter(([name, value]) => annotations[name] !== value);
    if (changed.length > 0) await annotate(machine.name, Object.fromEntries(changed));
  }

  return controller;
}

function uidOf(name: string, all: readonly Node[]): string {
  return all.find(({ metadata }) => metadata.name === name)?.metadata.uid ?? '';
}
