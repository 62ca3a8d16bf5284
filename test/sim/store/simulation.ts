// One seed: a group of real members, their clients, and whatever the seed has go wrong, on one virtual
// clock in one thread. What must hold is checked at every step; then the storm ends, and everything
// must come to its end: a write through each member, one state everywhere, all watches complete, no
// lease forgotten, a history that one order explains.
// Same seed, same run: see `digest`.
// Source: FoundationDB's and TigerBeetle's simulators (the idea), etcd tests/robustness (what to check).
import { crc32 } from 'node:zlib';
import type { MemberId, Message } from '../../../electron/controlplane/raft/types.ts';
import type { LogBatch, LogStorage } from '../../../electron/controlplane/replica/types.ts';
import { votersOf } from '../../../electron/controlplane/raft/membership.ts';
import { majority } from '../../../electron/controlplane/raft/quorum.ts';
import type { MemoryDisk } from '../disk.ts';
import { commandVersion } from '../../../electron/controlplane/store/command-codec.ts';
import { ReplicaGroup } from '../replica-group.ts';
import { Client, Compactor, LeaseHolder, pause, type ClientWorld } from './clients.ts';
import type { Happening, Tally } from './happenings.ts';
import { checkHistory, type Call } from './history.ts';
import { Invariants, type Rule } from './invariants.ts';
import { MemberState, stateChecksum } from './member-state.ts';
import { Misfortune, type Group } from './misfortune.ts';
import { Model } from './model.ts';
import { planFor, type Plan } from './plan.ts';
import { Session } from './session.ts';
import { checkWatch } from './watch-check.ts';
import { Watcher } from './watchers.ts';
import { World } from './world.ts';

export type BrokenRule =
  | Rule
  | 'answers'
  | 'bounds'
  | 'history'
  | 'results'
  | 'watch'
  | 'progress'
  | 'convergence'
  | 'no member fails'
  | 'the simulation works';

export interface SeedResult {
  readonly seed: number;
  /** Of everything that happened: the same for the same seed. */
  readonly digest: number;
  readonly steps: number;
  readonly calls: number;
  readonly tally: Tally;
  readonly broken: { readonly rule: BrokenRule; readonly sentence: string } | undefined;
}

interface Started {
  readonly others: readonly { readonly isDone: boolean }[];
  readonly watchers: readonly Watcher[];
}

export type Trace = (line: string) => void;

export async function simulate(seed: number, trace?: Trace): Promise<SeedResult> {
  return new Simulation(seed, trace).run();
}

class Simulation implements ClientWorld {
  readonly world: World;
  readonly plan: Plan;
  readonly model: Model;
  readonly calls: Call[] = [];
  isClosing = false;
  isFinal = false;
  readonly #seed: number;
  readonly #trace: Trace | undefined;
  readonly #group: Group;
  readonly #states = new Map<MemberId, MemberState>();
  readonly #sessions = new Map<MemberId, Session>();
  readonly #invariants: Invariants;
  readonly #misfortune: Misfortune;
  #broken: SeedResult['broken'];
  #digest = 0;
  #moments = 0;

  constructor(seed: number, trace: Trace | undefined) {
    this.#seed = seed;
    this.#trace = trace;
    const world = new World(seed);
    this.world = world;
    this.plan = planFor(world);
    this.#invariants = new Invariants(
      (rule, sentence) => this.report(rule, sentence),
      this.plan.protocolLimits,
    );
    this.model = new Model((sentence) => this.report('results', sentence), world);
    this.#group = this.#newGroup();
    this.#misfortune = new Misfortune({
      world,
      plan: this.plan,
      group: this.#group,
      states: this.#states,
      note: (text) => this.note(text),
    });
  }

  #newGroup(): Group {
    const { world, plan } = this;
    const { segmentBytes, logLimits, protocolLimits, timing, watchLimits } = plan;
    const group: Group = new ReplicaGroup({
      world,
      segmentBytes,
      logLimits,
      protocolLimits,
      timing,
      diskMs: (sizeBytes) => world.integer(1, plan.diskMsMax) + sizeBytes / 100_000,
      newState: (id, host) => {
        const observer = { onApplied: this.#onApplied, onInstalled: this.#onInstalled };
        const syncMsMax = 4 * plan.diskMsMax;
        const isOld = plan.hasOldReleases && !this.isClosing && world.chance(0.5);
        const entryVersion = isOld ? commandVersion - 1 : commandVersion;
        const deps = { host, observer, watchLimits, syncMsMax, entryVersion };
        const state = new MemberState(id, world, deps);
        this.#states.set(id, state);
        return state;
      },
      entryVersion: (id) => this.#states.get(id)?.entryVersion ?? commandVersion,
      wrapLog: (log, id) => this.#observedLog(log, id),
      onFound: (id, recovered, machine) => {
        if (this.#misfortune.lost.has(id)) this.#invariants.onDiskLost(id);
        this.#invariants.onFound(id, recovered, machine.applied());
      },
      onRunning: (id) => this.#onRunning(id),
      onEnded: (id, error) => this.#onEnded(id, error),
    });
    group.network.onSend = (message) => {
      if (message.type === 'vote' && message.isTransfer) world.count('leadership handed over');
      this.#fold(message);
      this.#invariants.onSend(message);
    };
    group.network.onDeliver = (message) => this.#invariants.onDeliver(message);
    group.network.onBroken = (from, to) => this.#invariants.onBroken(from, to);
    return group;
  }

  // ---- what is seen ----

  readonly #onApplied: ConstructorParameters<typeof MemberState>[2]['observer']['onApplied'] = (
    id,
    commands,
    results,
    mark,
    state,
  ) => {
    for (const [i, command] of commands.entries()) this.model.applied(command, results[i]);
    this.#invariants.onApplied(id, commands, mark, state);
  };

  readonly #onInstalled: ConstructorParameters<typeof MemberState>[2]['observer']['onInstalled'] = (
    id,
    mark,
    state,
  ) => {
    this.world.count('snapshot installed');
    this.note(`member ${id} installed a snapshot of ${mark.index}`);
    this.#invariants.onInstalled(id, mark, state);
  };

  #observedLog(log: LogStorage, id: MemberId): LogStorage {
    let last = 0;
    return {
      write: (batch: LogBatch, done) => {
        if ((batch.entries[0]?.index ?? Infinity) <= last)
          this.world.count('uncommitted tail cut off');
        last = batch.entries.at(-1)?.index ?? last;
        this.#invariants.onWriting(id, batch);
        log.write(batch, (error) => {
          if (error === undefined) this.#invariants.onPersisted(id, batch);
          done(error);
        });
      },
      hasRoom: () => log.hasRoom(),
      compact: (index) => {
        this.world.count('log compacted');
        log.compact(index);
      },
      close: () => log.close(),
    };
  }

  #onRunning(id: MemberId): void {
    const { running } = this.#group.member(id);
    if (running === undefined) return;
    const { replica } = running;
    let { role, term } = replica.standing;
    replica.onChange((standing) => {
      const isElected = standing.role === 'leader' && (role !== 'leader' || term !== standing.term);
      ({ role, term } = standing);
      const { members } = standing.membership;
      this.#invariants.onMembership(standing.membership);
      const who = members.map((one) => `${one.id}${one.role === 'voter' ? '' : 'l'}`).join();
      this.note(`member ${id}: ${role}, term ${term}, follows ${standing.leader}, of ${who}`);
      if (isElected) this.world.count('leader elected');
      if (isElected) this.#invariants.onElected(id, term, replica.status().lastIndex);
    });
    this.#sessions.set(id, new Session(id, running));
    this.note(`member ${id} runs, with ${running.machine.applied().index}`);
  }

  #onEnded(id: MemberId, error: Error | undefined): void {
    this.#sessions.get(id)?.end();
    this.#sessions.delete(id);
    if (error === undefined) return this.note(`member ${id} is gone`);
    this.note(`member ${id} ended: ${error.message}`);
    const isTold = error.message.includes('as it was told to') || error.message.includes('full');
    const isDamaged = this.#misfortune.damaged.has(id) && error.name === 'LogCorruptError';
    if (isDamaged) this.world.count('damage noticed at a start');
    const isLost = this.#misfortune.lost.has(id) && error.name === 'CannotGoOnError';
    if (isLost) this.world.count('lost disk noticed');
    if (!isTold && !isDamaged && !isLost)
      this.report('no member fails', `member ${id}: ${error.stack ?? error.message}`);
  }

  #fold(message: Message): void {
    const { type, from, to, term } = message;
    const index = type === 'append' ? message.previousIndex + message.entries.length : 0;
    let digest = this.#digest;
    for (const number of [this.world.nowMs * 1000, type.length, from, to, term, index])
      digest = Math.imul(digest ^ number, 0x01000193);
    this.#digest = digest >>> 0;
    if (this.#trace !== undefined) this.#trace(`${this.#time()}   ${shownMessage(message)}`);
  }

  #time(): string {
    return this.world.nowMs.toFixed(2).padStart(10);
  }

  note(text: string): void {
    this.#digest = crc32(text, this.#digest);
    this.#trace?.(`${this.#time()} ${text}`);
  }

  report(rule: BrokenRule, sentence: string): void {
    if (this.#broken !== undefined) return;
    this.#broken = { rule, sentence };
    this.note(`BROKEN ${rule}: ${sentence}`);
  }

  /** When the storm is over nobody asks a member that has left the cluster and does not know it. */
  sessions(): readonly Session[] {
    const sessions = [...this.#sessions.values()];
    if (!this.isClosing || this.#group.leader() === undefined) return sessions;
    const expected = this.#expected();
    return sessions.filter(({ id }) => expected.includes(id));
  }

  moment(): number {
    return ++this.#moments;
  }

  // ---- the course of things ----

  async run(): Promise<SeedResult> {
    this.note(`seed ${this.#seed}: ${JSON.stringify(this.plan)}`);
    try {
      await this.#play();
    } catch (error) {
      this.report('the simulation works', String(error instanceof Error ? error.stack : error));
    }
    return {
      seed: this.#seed,
      digest: this.#digest,
      steps: this.world.steps,
      calls: this.calls.length,
      tally: this.#wholeTally(),
      broken: this.#broken,
    };
  }

  #wholeTally(): Tally {
    const { tally } = this.world;
    const counted: [Happening, (disk: MemoryDisk) => number][] = [
      ['crash that lost unsynced log', (disk) => disk.lost],
      ['failed log write', (disk) => disk.failed],
      ['log disk full', (disk) => disk.refused],
    ];
    for (const [what, count] of counted)
      for (const { disk } of this.#group.members.values())
        if (count(disk) > 0) tally.set(what, (tally.get(what) ?? 0) + count(disk));
    return tally;
  }

  async #play(): Promise<void> {
    const { world, plan } = this;
    this.#watchOver(this.#group.found(plan.size));
    const leads = (): boolean => this.#group.leader() !== undefined;
    if (!(await this.#until(leads))) return this.report('progress', 'nobody leads at first');
    const clients = this.#startClients();
    this.#watchOver(this.#misfortune.run());
    const endMs = world.nowMs - world.sleptMs + plan.stormMs;
    await this.#run(Infinity, () => world.nowMs - world.sleptMs >= endMs);
    this.note('the storm ends');
    this.#misfortune.end();
    this.isClosing = true;
    await this.#finish(clients);
  }

  #startClients(): Started {
    const { plan } = this;
    const clients = Array.from({ length: plan.clients }, (_, i) => new Client(this, `c${i + 1}`));
    const watchers = Array.from({ length: plan.watchers }, (_, i) => new Watcher(this, i + 1));
    const holders = plan.hasLeases ? [new LeaseHolder(this, 1), new LeaseHolder(this, 2)] : [];
    const compactors = plan.hasCompactions ? [new Compactor(this)] : [];
    for (const one of [...clients, ...watchers, ...holders, ...compactors])
      this.#watchOver(one.run());
    return { others: [...clients, ...holders, ...compactors], watchers };
  }

  #watchOver(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      this.report('the simulation works', error instanceof Error ? (error.stack ?? '') : '');
    });
  }

  /** Runs until `isDone`, or something is broken, or `forMs` went by: then false. */
  async #until(isDone: () => boolean, forMs = this.#patienceMs): Promise<boolean> {
    await this.#run(this.world.nowMs + forMs, isDone);
    return this.#broken !== undefined || isDone();
  }

  get #patienceMs(): number {
    const { timing } = this.plan;
    return 40 * timing.electionTicks * timing.tickMs + 10_000;
  }

  async #run(untilMs: number, isDone: () => boolean): Promise<void> {
    const { world } = this;
    await world.run(
      untilMs,
      () => {
        if (world.steps % 64 === 0) this.#checkBounds();
      },
      // What is waited for is looked at now and then: it costs more than a step.
      () => this.#broken !== undefined || (world.steps % 8 === 0 && isDone()),
    );
  }

  #checkBounds(): void {
    const { protocolLimits, logLimits } = this.plan;
    for (const { id, running } of this.#group.running()) {
      const { logBytes, role, commit, appliedIndex } = running.replica.status();
      if (appliedIndex > commit)
        this.report('bounds', `member ${id} applied ${appliedIndex}, committed ${commit}`);
      const bound = logLimits.logBytesMax + protocolLimits.uncommittedBytesMax + 64 * 1024;
      if (role === 'leader' && logBytes > bound)
        this.report('bounds', `member ${id} holds ${logBytes} bytes of log, at most ${bound}`);
    }
  }

  // ---- the end ----

  async #finish(started: Started): Promise<void> {
    const leads = (): boolean => this.#group.leader() !== undefined;
    if (!(await this.#until(leads))) {
      if (this.#isStranded()) return;
      return this.report('progress', 'nobody leads when all is well again');
    }
    await this.#writeEverywhere();
    if (this.#broken !== undefined) return;
    const isQuiet = (): boolean =>
      started.others.every((one) => one.isDone) && this.model.heldLeases.length === 0;
    if (!(await this.#until(isQuiet)))
      return this.report(
        'progress',
        `clients or leases (${this.model.heldLeases.join()}) come to no end`,
      );
    if (!(await this.#until(() => this.#isConverged())))
      return this.report('convergence', this.#standing());
    this.isFinal = true;
    // A disk that was told to fail may do so only now, and its member comes back behind.
    const seesAll = (): boolean =>
      started.watchers.every((one) => one.isDone) && this.#isConverged();
    if (!(await this.#until(seesAll)))
      return this.report('watch', `it never saw the end, revision ${this.model.revision}`);
    this.#checkAll(started.watchers);
  }

  /** In the cluster as it is now, and able to run. */
  #expected(): readonly MemberId[] {
    const { members = [] } = this.#group.leader()?.replica.standing.membership ?? {};
    return members.map(({ id }) => id).filter((id) => !this.#misfortune.damaged.has(id));
  }

  /** A damaged disk, and a membership changed meanwhile: no majority is left, by bad luck. */
  #isStranded(): boolean {
    const { damaged, lost } = this.#misfortune;
    return this.#group.running().some(({ running }) => {
      const voters = votersOf(running.replica.standing.membership);
      const left = voters.filter(
        (id) => !damaged.has(id) || (this.#sessions.has(id) && !lost.has(id)),
      );
      return damaged.size > 0 && left.length < majority(voters.length);
    });
  }

  /** Through each member a write must succeed soon. */
  async #writeEverywhere(): Promise<void> {
    const client = new Client(this, 'last');
    const left = new Set<MemberId>();
    for (const id of this.#expected()) left.add(id);
    const write = async (id: MemberId): Promise<void> => {
      for (let n = 1; left.has(id) && this.#broken === undefined; n++) {
        const value = `last-${id}-${n}`;
        const key = `end/${id}/${n}`;
        const session = this.#sessions.get(id);
        const outcome = await client.call({ kind: 'put', key, value, expected: 0 }, session);
        const isMember = this.#group.leader() === undefined || this.#expected().includes(id);
        // Its adding may have been lost with the leader that had begun it.
        if (outcome.kind === 'written' || !isMember) left.delete(id);
        else await pause(this.world, 100);
      }
    };
    for (const id of left) this.#watchOver(write(id));
    if (!(await this.#until(() => left.size === 0)))
      this.report('progress', `no write through ${[...left].join()} comes about`);
  }

  #isConverged(): boolean {
    const states = this.#expected().map((id) => {
      const running = this.#group.member(id).running;
      if (running === undefined || running.machine.kv.ended !== undefined) return undefined;
      // All may have been started again, and not know yet what is committed.
      if (running.machine.kv.currentRevision !== this.model.revision) return undefined;
      return `${running.machine.applied().index} ${stateChecksum(running.machine.kv)}`;
    });
    return states[0] !== undefined && states.every((state) => state === states[0]);
  }

  #standing(): string {
    return this.#expected()
      .map((id) => {
        const running = this.#group.member(id).running;
        return running === undefined
          ? `${id} does not run`
          : `${id} is at ${running.machine.applied().index}`;
      })
      .join(', ');
  }

  #checkAll(watchers: readonly Watcher[]): void {
    const { truth, revision } = this.model;
    const [history] = checkHistory(this.calls, truth.revisions.flat());
    if (history !== undefined) this.report('history', history);
    for (const watcher of watchers)
      for (const watch of watcher.seen()) {
        const [problem] = checkWatch(watch, truth.revisions.flat());
        if (problem !== undefined) this.report('watch', problem);
      }
    for (const id of this.#expected()) {
      const kv = this.#group.member(id).running?.machine.kv;
      if (kv === undefined) continue;
      const { rows } = kv.range({ type: 'range', range: everything, revision: 0, limit: 0 });
      const found = rows.map(({ key, value }) => `${key}=${Buffer.from(value).toString()}`);
      const want = truth.under('', revision).map(({ key, value }) => `${key}=${value}`);
      if (found.join('\n') !== want.join('\n'))
        this.report('equal state', `member ${id} holds other rows than were written`);
    }
  }
}

const everything = { key: '', end: '\0' };

function shownMessage(message: Message): string {
  const { type, from, to, ...rest } = message;
  const content = JSON.stringify(rest, (name, value: unknown) =>
    name === 'data' ? undefined : value,
  );
  return `${from} → ${to} ${type} ${content}`;
}
