// The search for machines: listens and asks on the interfaces it was given and on no other, and writes what it finds as
// Machine objects. Runs where the control plane leads. Nothing is joined or changed by it: it only looks.
import type { Discovery, DiscoveryStatus, Machine } from '#kube/api/fleet.ts';
import type { Node } from '#kube/api/core.ts';
import { delay, rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Informer } from '#kube/client/informer.ts';
import { discoveries, machines } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { setCondition } from '#kube/machinery/conditions.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { singletonDiscovery } from '#kube/machinery/fleet.ts';
import { parseIpv4 } from '#kube/machinery/ipv4.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { hears, searching, sweeps } from './hearing.ts';
import { Listening } from './listening.ts';
import { defaultSshPort, isAt, planMachines, type MachineAction } from './machine-plan.ts';
import type { HomeProbes } from './probes/home-probes.ts';
import { isCandidate, seenMachines, type SeenMachine } from './seen-machines.ts';
import type { Sighting } from './sighting.ts';
import { SshAnswers } from './ssh-answers.ts';
import { sweep, sweepAddresses } from './sweep.ts';

export interface HomeSearchDeps {
  readonly client: RestClient;
  readonly machines: Informer<Machine>;
  readonly discoveries: Informer<Discovery>;
  readonly nodes: Informer<Node>;
  readonly interfaces: 'off' | readonly string[];
  /** The uid of kube-system; undefined: not known yet. */
  readonly clusterId: () => string | undefined;
  readonly probes: HomeProbes;
  readonly clock: Clock;
  readonly logger: Logger;
}

const lookMs = 5000;
/** While the search is off. */
const typedLookMs = 60_000;
/** What is heard comes in showers. */
const settleMs = 200;
/** What nobody hears is there as long as it answers when it is asked (SshAnswers: every ten minutes). */
const answeredMs = 25 * 60_000;
const resolvedMs = 60_000;
const askedAtOnce = 16;

export class HomeSearch {
  readonly #deps: HomeSearchDeps;
  readonly #listening: Listening;
  readonly #answers = new SshAnswers();
  readonly #asking = new Set<string>();
  /** Addresses that persons told of and that are not heard. */
  readonly #typed = new Set<string>();
  readonly #resolved = new Map<string, { address: string | undefined; untilMs: number }>();
  /** Of the Discovery whose sweep goes on or is through. */
  #sweptGeneration: number | undefined;
  #isSweeping = false;
  #ring: () => void = () => undefined;

  constructor(deps: HomeSearchDeps) {
    const { interfaces, probes, clock } = deps;
    this.#deps = deps;
    this.#listening = new Listening({
      interfaces: interfaces === 'off' ? [] : interfaces,
      probes,
      clock,
      onNews: () => this.#ring(),
    });
  }

  /** Until `signal` aborts. What the API refuses is tried again at the next look. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#deps;
    const detach = this.#watch();
    while (!signal.aborted) {
      const news = this.#news(signal);
      try {
        await this.#look(signal);
      } catch (error) {
        if (!signal.aborted) logger.warn('The search for machines: tries again', { error });
      }
      await news;
      await delay(clock, settleMs, signal);
    }
    detach();
    await this.#listening.close();
  }

  #watch(): () => void {
    const ring = (): void => this.#ring();
    const { machines: all, discoveries: search, nodes } = this.#deps;
    const detaches = [
      all.addHandler({ onAdd: ring, onUpdate: ring, onDelete: ring }),
      search.addHandler({ onAdd: ring, onUpdate: ring, onDelete: ring }),
      nodes.addHandler({ onAdd: ring, onDelete: ring }),
    ];
    return () => {
      for (const detach of detaches) detach();
    };
  }

  /** Resolves at something new, or when it is time to look again; with the search off only at news. */
  #news(signal: AbortSignal): Promise<void> {
    const { clock, interfaces } = this.#deps;
    return new Promise((resolve) => {
      const done = (): void => {
        timer?.cancel();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = interfaces === 'off' ? this.#typedTimer(done) : clock.timer(lookMs, done);
      signal.addEventListener('abort', done);
      this.#ring = done;
      if (signal.aborted) done();
    });
  }

  /** Where nobody told of a machine, an idle search is still. */
  #typedTimer(done: () => void): ReturnType<Clock['timer']> | undefined {
    const { machines: all, clock } = this.#deps;
    const hasTyped = all.lister.list().some(({ spec }) => spec?.address !== undefined);
    return hasTyped ? clock.timer(typedLookMs, done) : undefined;
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { interfaces, machines: all, nodes, clusterId, clock } = this.#deps;
    // With the search off only what a person told of is asked, which is that person's wish.
    const isOff = interfaces === 'off';
    const known = all.lister.list().filter(({ spec }) => !isOff || spec?.address !== undefined);
    if (!isOff || known.length > 0) {
      if (!isOff) await this.#listening.look();
      await this.#lookForTyped();
      const seen = this.#seen();
      this.#askAll(seen);
      const nodeOf = this.#nodes();
      const actions = planMachines({
        machines: known,
        seen: seen.filter(isCandidate),
        nodeOf: (address) => nodeOf.get(address),
        isNode: (name) => nodes.lister.get('', name) !== undefined,
        clusterId: clusterId(),
        answerOf: (address, port) => this.#answers.get(address, port),
        nowMs: clock.now(),
      });
      for (const action of actions) await this.#act(action);
    }
    await this.#tell(signal);
  }

  #seen(): readonly SeenMachine[] {
    return seenMachines(this.#listening.sightings(), this.#listening.own);
  }

  /** Addresses of Nodes. */
  #nodes(): ReadonlyMap<string, string> {
    return new Map(
      this.#deps.nodes.lister
        .list()
        .flatMap(({ metadata, status }) =>
          (status?.addresses ?? [])
            .filter(({ type }) => type === 'InternalIP')
            .map(({ address }) => [address, metadata.name] as const),
        ),
    );
  }

  /** What a person told of is there while its SSH answers, or while it is heard. */
  async #lookForTyped(): Promise<void> {
    const { machines: all, clock } = this.#deps;
    this.#typed.clear();
    for (const { spec } of all.lister.list()) {
      const typed = spec?.address;
      if (typed === undefined || this.#seen().some((one) => isAt(one, typed))) continue;
      const port = spec?.sshPort ?? defaultSshPort;
      const isAddress = parseIpv4(typed) !== undefined;
      const address = isAddress ? typed : await this.#resolve(typed);
      if (address === undefined) continue;
      this.#typed.add(address);
      if (!this.#answers.isDue(address, port, clock.now())) continue;
      const hostName = isAddress ? undefined : typed.toLowerCase().replace(/\.local$/, '');
      this.#ask(address, port, { by: 'Typed', ...(hostName !== undefined && { hostName }) });
    }
  }

  /** By the system, and by multicast DNS, whose answer is heard: once a minute. */
  async #resolve(hostName: string): Promise<string | undefined> {
    const { probes, clock } = this.#deps;
    const known = this.#resolved.get(hostName);
    if (known !== undefined && known.untilMs > clock.now()) return known.address;
    this.#listening.askAddress(hostName);
    const address = await probes.resolve(hostName).catch(() => undefined);
    this.#resolved.set(hostName, { address, untilMs: clock.now() + resolvedMs });
    return address;
  }

  #askAll(seen: readonly SeenMachine[]): void {
    const { clock, machines: all } = this.#deps;
    const heard = seen.flatMap(({ addresses }) => addresses.map((one) => one.address));
    this.#answers.keep(new Set([...heard, ...this.#typed]));
    for (const one of seen) {
      const by = one.seenBy.find((source) => source === 'Sweep' || source === 'Typed');
      const typed = all.lister
        .list()
        .filter(({ spec }) => spec?.address !== undefined && isAt(one, spec.address));
      if (!isCandidate(one) && typed.length === 0) continue;
      const ports = new Set([defaultSshPort, ...typed.flatMap(({ spec }) => spec?.sshPort ?? [])]);
      for (const { address } of one.addresses)
        for (const port of ports)
          if (this.#answers.isDue(address, port, clock.now()))
            this.#ask(address, port, by === undefined ? undefined : { by });
    }
  }

  /** Not more than some at once: the others' turn comes at a later look. `as`: an answer is a sighting. */
  #ask(address: string, port: number, as?: Pick<Sighting, 'by' | 'hostName'>): void {
    const { probes, clock } = this.#deps;
    const key = `${address}:${port}`;
    if (this.#asking.has(key) || this.#asking.size >= askedAtOnce) return;
    this.#asking.add(key);
    void probes.askSsh(address, port, this.#listening.linkOf(address)?.address).then((answer) => {
      this.#asking.delete(key);
      this.#answers.note(address, port, answer, clock.now());
      if (as !== undefined && answer.type !== 'silent') this.#note(address, as);
      this.#ring();
    });
  }

  #note(address: string, as: Pick<Sighting, 'by' | 'hostName'>): void {
    const on = this.#listening.linkOf(address)?.name ?? '';
    this.#listening.note({ ...as, address, interface: on }, answeredMs);
  }

  async #act(action: MachineAction): Promise<void> {
    const { client } = this.#deps;
    try {
      if (action.type === 'delete') await client.delete(machines, action.machine.metadata);
      else if (action.type === 'update') {
        const { machine, status } = action;
        await client.updateStatus(machines, { ...machine, status });
      } else {
        const { name, status } = action;
        const metadata = { name };
        const made = { apiVersion: 'flotilla.dev/v1alpha1', kind: 'Machine', metadata } as const;
        const created = await client.create(machines, made);
        await client.updateStatus(machines, { ...created, status });
      }
    } catch (error) {
      // Somebody else wrote: the next look sees what.
      const isOvertaken = ['AlreadyExists', 'Conflict', 'NotFound'].some((reason) =>
        hasReason(error, reason),
      );
      if (!isOvertaken) throw error;
    }
  }

  /** How it goes, and the sweep somebody agreed to. */
  async #tell(signal: AbortSignal): Promise<void> {
    const { client, clock, discoveries: informer, interfaces } = this.#deps;
    const search = informer.lister.get('', singletonDiscovery);
    if (search === undefined) return;
    this.#sweep(search, signal);
    const open = this.#listening.interfaces();
    const now = rfc3339(clock.now());
    const before = search.status?.conditions;
    const first = setCondition(before, searching(interfaces, open, this.#listening.problems), now);
    const swept = this.#isSweeping ? search.status?.sweptGeneration : this.#sweptGeneration;
    const status: DiscoveryStatus = {
      conditions: setCondition(
        setCondition(first, hears(this.#listening.hearing()), now),
        sweeps(this.#otherNetworks(search), open),
        now,
      ),
      interfaces: [...open],
      ...(swept !== undefined && { sweptGeneration: swept }),
    };
    if (deepEqual(status, search.status)) return;
    await client.updateStatus(discoveries, { ...search, status });
  }

  #otherNetworks({ spec }: Discovery): readonly string[] {
    if (this.#deps.interfaces === 'off') return [];
    return (spec?.sweep ?? []).filter((network) =>
      sweepAddresses([network]).every((address) => this.#listening.linkOf(address) === undefined),
    );
  }

  #sweep({ metadata, spec, status }: Discovery, signal: AbortSignal): void {
    const { interfaces, probes } = this.#deps;
    const generation = metadata.generation ?? 0;
    this.#sweptGeneration ??= status?.sweptGeneration;
    if (interfaces === 'off' || this.#isSweeping || this.#sweptGeneration === generation) return;
    // What no link is on would leave by a way that nobody named.
    const addresses = sweepAddresses(spec?.sweep ?? []).filter(
      (address) => this.#listening.linkOf(address) !== undefined,
    );
    this.#isSweeping = true;
    const ask = (address: string) =>
      probes.askSsh(address, defaultSshPort, this.#listening.linkOf(address)?.address);
    const found = (address: string): void => this.#note(address, { by: 'Sweep' });
    void sweep(addresses, ask, found, signal).then(() => {
      this.#isSweeping = false;
      this.#sweptGeneration = generation;
      this.#ring();
    });
  }
}
