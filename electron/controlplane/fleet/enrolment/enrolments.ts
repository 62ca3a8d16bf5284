// Adds machines to the cluster: answers `machines/NAME/enrolment`, and does what was planned. Runs where it was asked;
// passwords and keys are in this process' memory until it is done, and nowhere else.
import type { EnrolmentSpec, EnrolmentStatus, Machine } from '#kube/api/fleet.ts';
import type { ConfigMap } from '#kube/api/core.ts';
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { configMaps, machines, nodes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import {
  removedMachinesRef,
  withoutRemoved,
  withRemoved,
} from '#kube/machinery/removed-machines.ts';
import { badRequest, conflict, hasReason } from '#kube/machinery/status.ts';
import {
  inspect,
  plannedStatus,
  refusedStatus,
  type Inspection,
  type InspectionDeps,
} from './inspection.ts';
import { isAbandoned, isUnderWay, Progress } from './progress.ts';
import type { Credentials, HostKey, OpenRemote, Target } from './remote.ts';
import { runSteps } from './run-steps.ts';
import { Session } from './session.ts';
import { stepWork, type Placement, type StepDeps } from './steps.ts';

export interface EnrolmentsDeps extends Pick<
  InspectionDeps,
  'makePackage' | 'server' | 'clusterCa' | 'clock'
> {
  /** With the rights of `machine-enrolment`. */
  readonly client: RestClient;
  readonly open: OpenRemote;
  readonly placement: Placement;
  /** For an agent that is to join at `server`; good once and for some minutes. */
  readonly makeBootstrapKubeconfig: (server: string, nodeName: string) => Promise<string>;
  /** Whether agents tell the home of apps' names. */
  readonly isDiscovering: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

interface Looked {
  readonly status: EnrolmentStatus;
  readonly session?: Session;
  readonly inspection?: Inspection;
}

const sshPort = 22;

export class Enrolments {
  readonly #deps: EnrolmentsDeps;
  /** By uid of the Machine. */
  readonly #running = new Map<string, Promise<void>>();

  constructor(deps: EnrolmentsDeps) {
    this.#deps = deps;
  }

  /** Throws a StatusError where the request itself is wrong. */
  readonly enrol = async (
    machine: Machine,
    spec: EnrolmentSpec,
    signal: AbortSignal,
  ): Promise<EnrolmentStatus> => {
    if (spec.phase === 'Inspect') {
      const { status, session } = await this.#look(machine, spec, signal);
      session?.close();
      return status;
    }
    if (spec.hostKey === undefined && machine.spec?.hostKey === undefined)
      throw badRequest(
        'spec.hostKey is needed: the fingerprint that the machine shows (phase Inspect tells it), once a person has looked at it',
      );
    return this.#apply(machine, spec);
  };

  /** Resolves when nothing is under way. */
  async whenIdle(): Promise<void> {
    await Promise.all(this.#running.values());
  }

  async #apply(machine: Machine, spec: EnrolmentSpec): Promise<EnrolmentStatus> {
    const { clock, client, logger } = this.#deps;
    const { name, uid = '' } = machine.metadata;
    const before = machine.status?.enrolment;
    const isElsewhere =
      before !== undefined && isUnderWay(before) && !isAbandoned(before, clock.now());
    if (this.#running.has(uid) || isElsewhere)
      throw conflict(
        { group: 'flotilla.dev', resource: 'machines' },
        name,
        'it is being added now',
      );
    const gone = new AbortController();
    const signal = AbortSignal.any([this.#deps.signal, gone.signal]);
    const progress = new Progress({
      client,
      machine,
      clock,
      onGone: () => gone.abort(),
      onError: (error) => logger.warn('Could not tell how adding a machine goes', { name, error }),
    });
    const status: EnrolmentStatus = { phase: 'Running', message: `Logs in to ${name}` };
    const begun = progress.begin(status);
    const run = begun
      .then(() => this.#run(machine, spec, { progress, signal }))
      .catch((error: unknown) => {
        logger.error('Adding a machine failed', { machine: name, error });
        return failure(error);
      })
      .then(async (last) => {
        logger.info('Added a machine, or not', { machine: name, phase: last.phase });
        await progress.end(last);
        this.#running.delete(uid);
      });
    this.#running.set(uid, run);
    // Whoever looks from now on sees this, and nothing of an earlier time.
    await begun;
    return status;
  }

  /** Resolves with the last word. */
  async #run(
    machine: Machine,
    spec: EnrolmentSpec,
    { progress, signal }: { readonly progress: Progress; readonly signal: AbortSignal },
  ): Promise<EnrolmentStatus> {
    const { status, session, inspection } = await this.#look(machine, spec, signal);
    try {
      if (session === undefined || inspection === undefined) return status;
      const work = this.#workOf(session, inspection, signal);
      if (status.phase !== 'Planned' || work === undefined) return status;
      if (status.warnings !== undefined && spec.acceptWarnings !== true)
        return {
          ...status,
          message: 'There are warnings: accept them to go on (spec.acceptWarnings)',
        };
      await this.#pin(machine, status);
      await this.#allow(inspection.plan.nodeName, inspection.facts.machineId);
      let last: EnrolmentStatus = { ...status, phase: 'Running' };
      if (status.hostKey !== undefined) last.hostKey = { ...status.hostKey, isPinned: true };
      const { steps, nodeName } = inspection.plan;
      const why = await runSteps({
        steps,
        workOf: ({ name }) => stepWork(name, work),
        reboot: () => session.reboot(),
        report: (now, isRebooting) => {
          last = { ...last, phase: isRebooting ? 'Rebooting' : 'Running', steps: [...now] };
          progress.tell(last);
        },
        signal,
      });
      if (why === undefined)
        return { ...last, phase: 'Done', message: `It is the node ${nodeName}` };
      const message = `${why}. What is done stays done: add it again to go on`;
      return { ...last, phase: 'Failed', message };
    } finally {
      session?.close();
    }
  }

  /** Undefined: there is nothing to be done, as the plan says. */
  #workOf(session: Session, inspection: Inspection, signal: AbortSignal): StepDeps | undefined {
    const { facts, plan, package: copied, server } = inspection;
    if (copied === undefined || server === undefined) return undefined;
    const { placement, isDiscovering, makeBootstrapKubeconfig, clock } = this.#deps;
    return {
      root: session.root,
      placement,
      package: copied,
      nodeName: plan.nodeName,
      discovery: isDiscovering ? (facts.interface ?? 'off') : 'off',
      bootLine: facts.bootLine,
      missing: facts.missing,
      makeBootstrapKubeconfig: async () => {
        const kubeconfig = await makeBootstrapKubeconfig(server, plan.nodeName);
        const { nodeName, replaces = '' } = plan;
        if (replaces !== '') await this.#forbid(nodeName, replaces);
        return kubeconfig;
      },
      whyNotReady: () => this.#whyNotReady(plan.nodeName, facts.machineId),
      clock,
      signal,
    };
  }

  /** Logs in, looks, plans. Where it gets in, the session is the caller's to close. */
  async #look(machine: Machine, spec: EnrolmentSpec, signal: AbortSignal): Promise<Looked> {
    const { open, client, clock, logger } = this.#deps;
    const { name } = machine.metadata;
    const pinned = machine.spec?.hostKey;
    const hostKey = pinned ?? spec.hostKey;
    const credentials: Credentials = spec;
    const login = await open(targetOf(machine), credentials, { hostKey, signal });
    if (login.type !== 'in')
      return { status: refusedStatus(name, login, { pinned, seen: spec.hostKey }) };
    logger.info('Logged in to a machine', { machine: name, user: spec.user, phase: spec.phase });
    const { remote } = login;
    signal.addEventListener('abort', () => remote.close(), { once: true });
    try {
      const [allNodes, allMachines] = await Promise.all([
        client.list(nodes),
        client.list(machines),
      ]);
      const inspection = await inspect(remote, login.hostKey, {
        ...this.#deps,
        machine,
        spec,
        nodes: allNodes.items,
        machines: allMachines.items,
      });
      const session = new Session(remote, inspection.facts, {
        open,
        target: async () => targetOf(await client.get(machines, { name })),
        credentials,
        sudoPassword: spec.sudoPassword ?? spec.password,
        hostKey: login.hostKey.fingerprint,
        clock,
        signal,
      });
      return {
        status: plannedStatus(inspection, login.hostKey, pinned !== undefined),
        session,
        inspection,
      };
    } catch (error) {
      remote.close();
      return { status: { ...failure(error), hostKey: shownKey(login.hostKey, pinned) } };
    }
  }

  /** From now on no other key is accepted for this machine. */
  async #pin({ metadata, spec }: Machine, { hostKey }: EnrolmentStatus): Promise<void> {
    if (spec?.hostKey !== undefined || hostKey === undefined) return;
    const { name } = metadata;
    await this.#deps.client.patch(machines, { name }, { spec: { hostKey: hostKey.fingerprint } });
  }

  async #removed(): Promise<ConfigMap | undefined> {
    try {
      return await this.#deps.client.get(configMaps, removedMachinesRef);
    } catch (error) {
      if (!hasReason(error, 'NotFound')) throw error;
      return undefined;
    }
  }

  /** One that was taken out while it was gone may be a node again: a person adds it. */
  async #allow(nodeName: string, machineId: string | undefined): Promise<void> {
    if (machineId === undefined) return;
    const next = withoutRemoved(await this.#removed(), nodeName, machineId);
    if (next !== undefined) await this.#deps.client.update(configMaps, next);
  }

  /** The machine whose Node another takes over is none any more. */
  async #forbid(nodeName: string, machineId: string): Promise<void> {
    const { client, clock } = this.#deps;
    const found = await this.#removed();
    const next = withRemoved(found, nodeName, { machineId, at: rfc3339(clock.now()) });
    await (found === undefined ? client.create(configMaps, next) : client.update(configMaps, next));
  }

  async #whyNotReady(name: string, machineId: string | undefined): Promise<string | undefined> {
    try {
      const { status } = await this.#deps.client.get(nodes, { name });
      if (machineId !== undefined && status?.nodeInfo?.machineID !== machineId)
        return `the node ${name} is another machine`;
      const ready = getCondition(status?.conditions, 'Ready');
      if (ready?.status === 'True') return undefined;
      return ready?.message ?? `the node ${name} has not said anything yet`;
    } catch (error) {
      if (hasReason(error, 'NotFound')) return `the node ${name} has not come`;
      return error instanceof Error ? error.message : String(error);
    }
  }
}

function failure(error: unknown): EnrolmentStatus {
  const why = error instanceof Error ? error.message : String(error);
  return { phase: 'Failed', message: `Looking at the machine: ${why}. Add it again to go on` };
}

function shownKey(hostKey: HostKey, pinned: string | undefined) {
  return { ...hostKey, isPinned: hostKey.fingerprint === pinned };
}

/** Where it was seen last, then where a person said. */
function targetOf({ spec, status }: Machine): Target {
  const seen = (status?.addresses ?? []).map(({ address }) => address);
  const typed = spec?.address === undefined ? [] : [spec.address];
  return {
    addresses: [...new Set([...seen, ...typed])],
    port: spec?.sshPort ?? status?.ssh?.port ?? sshPort,
  };
}
