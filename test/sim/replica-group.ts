// A group of real members on simulated machines: the real protocol, driver and log, on disks in
// memory, over a simulated network, all on one clock and one seed. What the members keep as their
// state is the caller's, and so are the faults.
import { silentLogger } from '#kube/base/logger.ts';
import { encodeMembership } from '../../electron/controlplane/raft/membership.ts';
import type { Entry, Member, MemberId } from '../../electron/controlplane/raft/types.ts';
import type { Announcement } from '../../electron/controlplane/replica/announcements.ts';
import {
  beginLog,
  planStart,
  type MemberRecord,
  type StartPlan,
} from '../../electron/controlplane/replica/bootstrap.ts';
import type { LogLimits } from '../../electron/controlplane/replica/log-keeper.ts';
import { openLog } from '../../electron/controlplane/replica/log-storage.ts';
import {
  Replica,
  type ReplicaDeps,
  type ReplicaTiming,
} from '../../electron/controlplane/replica/replica.ts';
import type {
  LogStorage,
  RecoveredLog,
  StateMachine,
} from '../../electron/controlplane/replica/types.ts';
import { MemoryDisk } from './disk.ts';
import { SimNetwork, type Self } from './store/network.ts';
import { Host, type Process, type World } from './store/world.ts';

/** A member's state on its disk: what `open` finds again after a crash. */
export interface SimState<Machine> {
  /** `onFatal`: the process has to end. */
  open(process: Process, onFatal: (error: Error) => void): Machine;
  /** The power goes: what was not flushed is lost. */
  crash(): void;
  /** Only the process ends: what it wrote is there. As `crash` when left out. */
  kill?(): void;
}

export interface GroupOptions<Machine> {
  readonly world: World;
  /** An empty one, for a new member. */
  readonly newState: (id: MemberId, host: Host) => SimState<Machine>;
  /** The newest version of entries that a member's release knows now; 1 when left out. */
  readonly entryVersion?: (id: MemberId) => number;
  readonly segmentBytes?: number;
  readonly logLimits?: Partial<LogLimits>;
  readonly timing?: Partial<ReplicaTiming>;
  /** How long a write of so many bytes takes. */
  readonly diskMs?: (sizeBytes: number) => number;
  /** Sees and may change what a member's log is asked. */
  readonly wrapLog?: (log: LogStorage, id: MemberId) => LogStorage;
  readonly protocolLimits?: ReplicaDeps<unknown>['protocolLimits'];
  /** A member found its log and state, and has not begun yet. */
  readonly onFound?: (id: MemberId, recovered: RecoveredLog | undefined, machine: Machine) => void;
  /** It is about to be started: see `member(id).running`. */
  readonly onRunning?: (id: MemberId) => void;
  /** Its process ended, or could not be started. */
  readonly onEnded?: (id: MemberId, error: Error | undefined) => void;
}

/** What runs between a start and the next crash. */
export interface RunningMember<Result, Machine> {
  readonly replica: Replica<Result>;
  readonly machine: Machine;
  readonly process: Process;
}

/** A machine, running or not. */
export interface SimMember<Result, Machine> {
  readonly id: MemberId;
  readonly host: Host;
  disk: MemoryDisk;
  state: SimState<Machine>;
  record: MemberRecord;
  running: RunningMember<Result, Machine> | undefined;
  /** It runs, or is about to. */
  isUp: boolean;
  /** Why it ended, or refused to start. */
  fatal: Error | undefined;
}

const clusterId = 'simulated';
const segmentBytesDefault = 64 * 1024;

export class ReplicaGroup<Result, Machine extends StateMachine<Result>> {
  readonly network: SimNetwork;
  readonly members = new Map<MemberId, SimMember<Result, Machine>>();
  readonly #options: GroupOptions<Machine>;
  #founders: readonly Member[] = [];
  #runs = 0;

  constructor(options: GroupOptions<Machine>) {
    this.#options = options;
    this.network = new SimNetwork(options.world);
  }

  /** Members 1 to `size`, all voters of one new cluster. */
  async found(size: number): Promise<void> {
    this.#founders = Array.from({ length: size }, (_, i) => ({
      id: i + 1,
      role: 'voter',
      name: `m${i + 1}`,
      addresses: [],
    }));
    for (const { id } of this.#founders) this.#make(id, 'new');
    this.#founders = this.#founders.map((one) => ({ ...one, ...this.#announcement(one.id) }));
    await Promise.all(this.#founders.map(({ id }) => this.start(id)));
  }

  /** A machine with nothing on it, to be added by the leader. */
  async join(id: MemberId): Promise<void> {
    this.#make(id, 'join');
    await this.start(id);
  }

  #make(id: MemberId, begunAs: MemberRecord['begunAs']): void {
    const { world, newState } = this.#options;
    const host = new Host(world);
    const incarnation = `disk 1 of ${id}`;
    this.members.set(id, {
      id,
      host,
      disk: this.#newDisk(host),
      state: newState(id, host),
      record: { clusterId, memberId: id, name: `m${id}`, incarnation, begunAs, hasBegun: false },
      running: undefined,
      isUp: false,
      fatal: undefined,
    });
  }

  #newDisk({ clock }: Host): MemoryDisk {
    const { world, diskMs } = this.#options;
    const options = diskMs === undefined ? {} : { delayMs: diskMs };
    return new MemoryDisk({ clock, random: world.random, ...options });
  }

  #announcement(id: MemberId): Announcement {
    const { incarnation } = this.member(id).record;
    return { incarnation, entryVersion: this.#options.entryVersion?.(id) ?? 1 };
  }

  /** Another disk with nothing on it, and the member's key put back from a copy. */
  replaceDisk(id: MemberId): void {
    this.crash(id);
    const member = this.member(id);
    const { host, record } = member;
    member.disk = this.#newDisk(host);
    member.state = this.#options.newState(id, host);
    const incarnation = `disk 2 of ${id}`;
    member.record = { ...record, incarnation, begunAs: 'join', hasBegun: false };
  }

  member(id: MemberId): SimMember<Result, Machine> {
    const member = this.members.get(id);
    if (member === undefined) throw new Error(`there is no member ${id}`);
    return member;
  }

  /** Those whose process runs. */
  running(): readonly (SimMember<Result, Machine> & {
    readonly running: RunningMember<Result, Machine>;
  })[] {
    return [...this.members.values()].flatMap((member) =>
      member.running === undefined ? [] : [Object.assign(member, { running: member.running })],
    );
  }

  leader(): RunningMember<Result, Machine> | undefined {
    const leaders = this.running()
      .map(({ running }) => running)
      .filter(({ replica }) => replica.standing.role === 'leader');
    return leaders.toSorted((a, b) => b.replica.standing.term - a.replica.standing.term)[0];
  }

  /**
   * Resolves when it runs, was refused (`fatal`), or its log has begun; the world has to run
   * meanwhile. A crash in between leaves the promise open.
   */
  async start(id: MemberId): Promise<void> {
    const member = this.member(id);
    const { world, segmentBytes = segmentBytesDefault, wrapLog, onFound } = this.#options;
    const { host, disk, record } = member;
    member.fatal = undefined;
    member.isUp = true;
    const process = host.process();
    try {
      const opened = openLog({
        ...process,
        disk,
        clusterId,
        memberId: id,
        random: world.random,
        logger: silentLogger,
        segmentBytes,
      });
      const machine = member.state.open(process, (error) => this.#end(member, error));
      const plan = this.#isFounding(member, opened.recovered !== undefined)
        ? this.#foundingPlan()
        : planStart(record, opened.recovered, {
            applied: machine.applied(),
            installedIndex: machine.installedIndex,
          });
      onFound?.(id, opened.recovered, machine);
      const log = wrapLog?.(opened.log, id) ?? opened.log;
      await beginLog(log, plan);
      member.record = { ...record, hasBegun: true };
      this.#run(member, { process, log, plan, machine });
    } catch (error) {
      this.#end(member, error as Error);
    }
  }

  #isFounding({ record }: SimMember<Result, Machine>, hasLog: boolean): boolean {
    return record.begunAs === 'new' && !record.hasBegun && !hasLog;
  }

  /** As bootstrap.ts founds a cluster, but with several voters at once. */
  #foundingPlan(): StartPlan {
    const data = encodeMembership({ members: this.#founders });
    const entry: Entry = { index: 1, term: 1, kind: 'membership', data };
    const hardState = { term: 1, vote: 0, commit: 1 };
    const snapshot = { index: 0, term: 0, membership: { members: [] } };
    return {
      start: { hardState, snapshot, entries: [entry], appliedIndex: 0 },
      firstWrite: { hardState, entries: [entry], snapshot: undefined, mustSync: true },
    };
  }

  #run(
    member: SimMember<Result, Machine>,
    begun: Omit<RunningMember<Result, Machine>, 'replica'> & {
      readonly log: LogStorage;
      readonly plan: StartPlan;
    },
  ): void {
    const { world, logLimits, protocolLimits, timing, onRunning } = this.#options;
    const announcement = this.#announcement(member.id);
    const { id, host } = member;
    const { process, log, plan, machine } = begun;
    const replica = new Replica<Result>({
      ...process,
      id,
      start: plan.start,
      log,
      stateMachine: machine,
      transport: this.network.attach(id, host, this.#selfOf(plan, announcement)),
      announcement,
      random: world.random,
      logger: silentLogger,
      onFatal: (error) => this.#end(member, error),
      timing: timing ?? {},
      logLimits: logLimits ?? {},
      protocolLimits: protocolLimits ?? {},
    });
    member.running = { replica, machine, process };
    onRunning?.(id);
    replica.start();
  }

  #selfOf({ start }: StartPlan, { incarnation, entryVersion }: Announcement): Self {
    const lastIndex = start.entries.at(-1)?.index ?? start.snapshot.index;
    const disk = { incarnation, run: `run ${++this.#runs}`, term: start.hardState.term, lastIndex };
    return { disk, entryVersion };
  }

  /** The process has ended itself: its machine goes on. */
  #end(member: SimMember<Result, Machine>, error: Error): void {
    if (!member.isUp) return;
    this.#kill(member, error);
    member.fatal = error;
  }

  /** The power goes. */
  crash(id: MemberId): void {
    const member = this.#stop(this.member(id));
    member.disk.crash();
    member.state.crash();
  }

  /** The process is killed: what it had handed to its machine's disk gets there. */
  kill(id: MemberId): void {
    this.#kill(this.member(id));
  }

  #kill(member: SimMember<Result, Machine>, error?: Error): void {
    this.#stop(member, error);
    member.disk.kill();
    if (member.state.kill === undefined) member.state.crash();
    else member.state.kill();
  }

  #stop(member: SimMember<Result, Machine>, error?: Error): SimMember<Result, Machine> {
    member.running = undefined;
    member.isUp = false;
    member.host.die();
    this.network.detach(member.id);
    this.#options.onEnded?.(member.id, error);
    return member;
  }
}
