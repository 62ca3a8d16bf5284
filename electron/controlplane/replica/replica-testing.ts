// For tests of the driver: whole members in one process on a clock the test moves, with a log, a
// state and a network of a few lines each that write down what was asked of them. Nothing happens
// between two lines of a test but what `settle` and `advance` let happen.
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import type { Entry, HardState, Member, MemberId, Membership, Message } from '../raft/types.ts';
import type { Announcement } from './announcements.ts';
import { planStart, type MemberRecord } from './bootstrap.ts';
import { Replica, type ReplicaDeps } from './replica.ts';
import type {
  AppliedCommand,
  AppliedMark,
  LogBatch,
  LogStorage,
  PeerHandlers,
  PeerTransport,
  ReceivedSnapshot,
  SnapshotSource,
  StateMachine,
} from './types.ts';

const text = { encoder: new TextEncoder(), decoder: new TextDecoder() };

export function bytes(value: string): Uint8Array {
  return text.encoder.encode(value);
}

type Done = (error?: Error) => void;

/** What a machine's disk holds: it outlives the replica on it. */
export class TestDisk {
  hardState: HardState = { term: 0, vote: 0, commit: 0 };
  start = { index: 0, term: 0 };
  entries: Entry[] = [];
  state: State = { mark: { index: 0, term: 0, membership: { members: [] } }, values: [] };
  installedIndex: number | undefined;

  keep({ hardState, snapshot, entries }: LogBatch): void {
    if (snapshot !== undefined) {
      this.start = { index: snapshot.index, term: snapshot.term };
      this.entries = [];
    }
    if (hardState !== undefined) this.hardState = hardState;
    const [first] = entries;
    if (first !== undefined) this.entries.length = first.index - this.start.index - 1;
    this.entries.push(...entries);
  }
}

interface State {
  readonly mark: AppliedMark;
  readonly values: readonly string[];
}

export class TestLog implements LogStorage {
  readonly batches: LogBatch[] = [];
  readonly compactions: number[] = [];
  room = true;
  /** Writes wait for `release`. */
  isHeld = false;
  nextError: Error | undefined;
  readonly #disk: TestDisk;
  readonly #schedule: (work: () => void) => void;
  readonly #note: (event: string) => void;
  #waiting: (() => void) | undefined;
  isClosed = false;

  constructor(disk: TestDisk, schedule: (work: () => void) => void, note: (e: string) => void) {
    this.#disk = disk;
    this.#schedule = schedule;
    this.#note = note;
  }

  get isWriting(): boolean {
    return this.#waiting !== undefined;
  }

  write(batch: LogBatch, done: Done): void {
    if (this.#waiting !== undefined) throw new Error('two writes at a time');
    this.batches.push(batch);
    this.#waiting = () => {
      this.#waiting = undefined;
      const error = this.nextError;
      this.nextError = undefined;
      if (error === undefined) this.#disk.keep(batch);
      this.#note(`written ${batch.entries.map(({ index }) => index).join(' ')}`.trim());
      done(error);
    };
    if (!this.isHeld) this.release();
  }

  release(): void {
    this.isHeld = false;
    const waiting = this.#waiting;
    if (waiting !== undefined) this.#schedule(waiting);
  }

  hasRoom(): boolean {
    return this.room;
  }

  compact(index: number): void {
    this.compactions.push(index);
    const count = index - this.#disk.start.index;
    const term = this.#disk.entries[count - 1]?.term;
    if (term === undefined) throw new Error(`the log does not hold ${index}`);
    this.#disk.entries.splice(0, count);
    this.#disk.start = { index, term };
  }

  close(): void {
    this.isClosed = true;
  }
}

/** Keeps every command as a text; a result says which it was. Durable when flushed. */
export class TestMachine implements StateMachine<string> {
  values: string[];
  readonly batches: (readonly string[])[] = [];
  flushes = 0;
  /** Durable with every command, without being asked. */
  isEager = false;
  holdsInstall = false;
  applyError: Error | undefined;
  readonly #disk: TestDisk;
  readonly #schedule: (work: () => void) => void;
  readonly #note: (event: string) => void;
  #mark: AppliedMark;
  releaseInstall: () => void = () => {};

  constructor(disk: TestDisk, schedule: (work: () => void) => void, note: (e: string) => void) {
    this.#disk = disk;
    this.#schedule = schedule;
    this.#note = note;
    this.#mark = disk.state.mark;
    this.values = [...disk.state.values];
  }

  applied(): AppliedMark {
    return this.#mark;
  }

  get installedIndex(): number | undefined {
    return this.#disk.installedIndex;
  }

  apply(commands: readonly AppliedCommand[], mark: AppliedMark): readonly string[] {
    if (this.applyError !== undefined) throw this.applyError;
    this.#note(`applied ${mark.index}`);
    const values = commands.map(({ data }) => text.decoder.decode(data));
    this.batches.push(values);
    this.values.push(...values);
    this.#mark = mark;
    if (this.isEager) this.#keep();
    return commands.map(({ index }, i) => `${index}:${values[i]}`);
  }

  durableIndex(): number {
    return this.#disk.state.mark.index;
  }

  flush(): void {
    this.flushes++;
    this.#keep();
  }

  #keep(): void {
    this.#disk.state = { mark: this.#mark, values: [...this.values] };
  }

  snapshot(): Promise<SnapshotSource> {
    const data = bytes(JSON.stringify(this.values));
    const mark = this.#mark;
    return Promise.resolve({
      mark,
      sizeBytes: data.length,
      async *chunks() {
        yield await Promise.resolve(data);
      },
      close: () => this.#note('copy closed'),
    });
  }

  async receive(mark: AppliedMark, chunks: AsyncIterable<Uint8Array>): Promise<ReceivedSnapshot> {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(chunk);
    const values = JSON.parse(text.decoder.decode(Buffer.concat(parts))) as string[];
    return new Received({ mark, values }, () => this.#note(`discarded ${mark.index}`));
  }

  install(received: ReceivedSnapshot, done: Done): void {
    const finish = (): void => {
      this.#disk.state = (received as Received).state;
      this.#mark = received.mark;
      this.#disk.installedIndex = received.mark.index;
      this.values = [...this.#disk.state.values];
      this.#note(`installed ${received.mark.index}`);
      done();
    };
    this.releaseInstall = () => this.#schedule(finish);
    if (!this.holdsInstall) this.releaseInstall();
  }

  close(): void {
    this.#keep();
    this.#note('state closed');
  }
}

class Received implements ReceivedSnapshot {
  readonly state: State;
  readonly discard: () => void;

  constructor(state: State, discard: () => void) {
    this.state = state;
    this.discard = discard;
  }

  get mark(): AppliedMark {
    return this.state.mark;
  }
}

export class TestMember {
  readonly events: string[] = [];
  readonly fatal: Error[] = [];
  readonly log: TestLog;
  readonly machine: TestMachine;
  readonly replica: Replica<string>;
  readonly knownTo: Member[][] = [];
  /** The committed memberships that the transport was told. */
  readonly agreed: Membership[] = [];
  handlers: PeerHandlers | undefined;
  isDead = false;

  constructor(group: TestGroup, id: MemberId, disk: TestDisk) {
    const note = (event: string): void => void this.events.push(event);
    // A dead process does nothing any more.
    const schedule = (work: () => void): void =>
      group.schedule(() => {
        if (!this.isDead) work();
      });
    this.log = new TestLog(disk, schedule, note);
    this.machine = new TestMachine(disk, schedule, note);
    const { hardState, start, entries, state } = disk;
    const record = { clusterId: 'c', memberId: id, name: '', begunAs: 'join', hasBegun: true };
    const recovered = { hardState, start, entries: [...entries] };
    const plan = planStart(record as MemberRecord, recovered, {
      applied: state.mark,
      installedIndex: disk.installedIndex,
    });
    if (plan.firstWrite !== undefined) disk.keep(plan.firstWrite);
    this.replica = new Replica<string>({
      id,
      start: plan.start,
      log: this.log,
      stateMachine: this.machine,
      transport: group.attach(id, this),
      clock: group.clock,
      random: group.random,
      schedule,
      logger: silentLogger,
      onFatal: (error) => void this.fatal.push(error),
      ...group.options,
    });
  }
}

export class TestGroup {
  readonly clock = new ManualClock();
  readonly random = seededRandom(1);
  readonly options: Partial<ReplicaDeps<string>>;
  readonly disks = new Map<MemberId, TestDisk>();
  readonly members = new Map<MemberId, TestMember>();
  readonly sent: Message[] = [];
  /** What each member says of itself to others. */
  readonly announced = new Map<MemberId, Announcement>();
  /** Says whether a message gets lost. */
  isLost: (message: Message) => boolean = () => false;
  #work: (() => void)[] = [];

  /** Members 1 to `count`, all voters, not started. */
  constructor(count: number, options: Partial<ReplicaDeps<string>> = {}) {
    this.options = options;
    const members = Array.from({ length: count }, (_, i) => voter(i + 1));
    for (const { id } of members) {
      const disk = this.disk(id);
      disk.state = { mark: { index: 1, term: 1, membership: { members } }, values: [] };
      disk.start = { index: 1, term: 1 };
      disk.hardState = { term: 1, vote: 0, commit: 1 };
    }
  }

  schedule(work: () => void): void {
    this.#work.push(work);
  }

  disk(id: MemberId): TestDisk {
    const disk = this.disks.get(id) ?? new TestDisk();
    this.disks.set(id, disk);
    return disk;
  }

  start(id: MemberId): TestMember {
    const member = new TestMember(this, id, this.disk(id));
    this.members.set(id, member);
    member.replica.start();
    return member;
  }

  /** The process is gone; its disk stays. */
  kill(id: MemberId): void {
    const member = this.member(id);
    member.isDead = true;
    member.handlers = undefined;
    this.members.delete(id);
  }

  member(id: MemberId): TestMember {
    const member = this.members.get(id);
    if (member === undefined) throw new Error(`member ${id} does not run`);
    return member;
  }

  attach(id: MemberId, member: TestMember): PeerTransport {
    return {
      start: (handlers) => {
        member.handlers = handlers;
      },
      send: (message) => {
        if (member.handlers === undefined) return;
        this.sent.push(message);
        member.events.push(`sent ${message.type}`);
        if (!this.isLost(message))
          this.schedule(() => this.members.get(message.to)?.handlers?.onMessage(message));
      },
      sendSnapshot: async (to, source) => {
        const { handlers } = this.member(to);
        if (handlers === undefined) throw new Error(`member ${to} is not there`);
        await handlers.onSnapshot(id, source.mark, source.chunks());
      },
      setMembership({ members }, agreed) {
        member.knownTo.push([...members]);
        if (agreed !== undefined) member.agreed.push(agreed);
      },
      announced: (peer) => this.announced.get(peer),
      close: () => {
        member.handlers = undefined;
      },
    };
  }

  /** Everything that can happen without time going by. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 2;) {
      quiet = this.#work.length === 0 ? quiet + 1 : 0;
      for (let work = this.#work.shift(); work !== undefined; work = this.#work.shift()) work();
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
  }

  async advance(ms: number): Promise<void> {
    for (let gone = 0; gone < ms; gone += 10) {
      this.clock.advance(Math.min(10, ms - gone));
      await this.settle();
    }
  }

  get leader(): TestMember | undefined {
    return [...this.members.values()].find(({ replica }) => replica.standing.role === 'leader');
  }

  /** Starts all, and lets them elect. */
  async elect(): Promise<TestMember> {
    for (const id of this.disks.keys()) if (!this.members.has(id)) this.start(id);
    for (let i = 0; this.leader === undefined && i < 100; i++) await this.advance(50);
    await this.advance(200);
    const { leader } = this;
    if (leader === undefined) throw new Error('nobody was elected');
    return leader;
  }

  /** Some member that does not lead. */
  get follower(): TestMember {
    const found = [...this.members.values()].find((member) => member !== this.leader);
    if (found === undefined) throw new Error('there is no follower');
    return found;
  }
}

export function voter(id: MemberId): Member {
  return { id, role: 'voter', name: `m${id}`, addresses: [`m${id}:1`] };
}
