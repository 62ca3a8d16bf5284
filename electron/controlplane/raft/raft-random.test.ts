// Whole groups under a hostile network and crashing machines, a few hundred seeds: the safety rules
// of the paper's figure 3 hold after every step. What a machine had not made durable is gone when it
// crashes; messages are dropped, doubled and reordered. Then the network heals and the group must
// make progress.
import { describe, expect, it } from 'vitest';
import { seededRandom, type Random } from '#kube/base/random.ts';
import { Raft } from './raft.ts';
import { encodeMembership, withMember, withoutMember } from './membership.ts';
import type {
  Entry,
  HardState,
  Input,
  Member,
  MemberId,
  Membership,
  Message,
  RaftConfig,
  ReadState,
  Ready,
  SnapshotMark,
} from './types.ts';

interface Disk {
  hardState: HardState;
  start: SnapshotMark;
  entries: Entry[];
}

interface Machine {
  readonly id: MemberId;
  raft: Raft;
  readonly disk: Disk;
  /** Handed out, not durable yet. */
  writes: Ready[];
  applied: number;
  appliedTerm: number;
  membership: Membership;
}

const voter = (id: MemberId): Member => ({ id, role: 'voter', name: `m${id}`, addresses: [] });

class Group {
  readonly random: Random;
  readonly machines = new Map<MemberId, Machine>();
  network: Message[] = [];
  /** index → what was applied there, by whoever came first. */
  readonly history = new Map<number, Entry>();
  readonly leaders = new Map<number, MemberId>();
  /** The newest index that anybody has applied. */
  newest = 1;
  /** Read → what was applied when it was asked for. */
  readonly asked = new Map<number, number>();
  answered = 0;
  nextId = 1;
  isCalm = false;

  constructor(seed: number) {
    this.random = seededRandom(seed);
    const count = 1 + Math.floor(this.random.next() * 5);
    const members = Array.from({ length: count }, (_, i) => voter(i + 1));
    for (let id = 1; id <= 5; id += 1)
      this.add(id, { members: id <= count ? members : [] }, id <= count ? 1 : 0);
  }

  private add(id: MemberId, membership: Membership, index: number): void {
    const disk: Disk = {
      hardState: { term: index, vote: 0, commit: index },
      start: { index, term: index, membership },
      entries: [],
    };
    const machine = { id, disk, writes: [], applied: index, appliedTerm: index, membership };
    this.machines.set(id, { ...machine, raft: this.boot(id, disk, index) });
  }

  private boot(id: MemberId, disk: Disk, appliedIndex: number): Raft {
    const config: RaftConfig = {
      id,
      electionTicks: 5,
      heartbeatTicks: 1,
      messageBytesMax: 200,
      inflightMessagesMax: 3,
      inflightBytesMax: 400,
      uncommittedBytesMax: 2000,
      random: this.random,
    };
    const { hardState, start, entries } = disk;
    return new Raft(config, { hardState, snapshot: start, entries: [...entries], appliedIndex });
  }

  chance(probability: number): boolean {
    return this.random.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.random.next() * list.length)] as T;
  }

  step(machine: Machine, input: Input): void {
    const ready = machine.raft.step(input);
    this.network.push(...ready.messages);
    machine.writes.push(ready);
    for (const peer of ready.snapshotsWanted) this.sendSnapshot(machine, peer);
    for (const entry of ready.committed) this.apply(machine, entry);
    for (const read of ready.reads) this.checkRead(read);
    this.check(machine);
    if (this.isCalm || this.chance(0.5)) this.flush(machine);
  }

  /** Everything waiting becomes durable as one write. */
  private flush(machine: Machine): void {
    const { writes, disk } = machine;
    machine.writes = [];
    let writeId = 0;
    for (const ready of writes) {
      this.write(disk, ready);
      if (ready.snapshot !== undefined) {
        machine.applied = ready.snapshot.index;
        machine.appliedTerm = ready.snapshot.term;
        machine.membership = ready.snapshot.membership;
      }
      if (ready.writeId > 0) ({ writeId } = ready);
      this.network.push(...ready.messagesAfterPersist);
    }
    if (writeId > 0) this.step(machine, { type: 'persisted', writeId });
  }

  private apply(machine: Machine, entry: Entry): void {
    expect(entry.index).toBe(machine.applied + 1);
    machine.applied = entry.index;
    this.newest = Math.max(this.newest, entry.index);
    machine.appliedTerm = entry.term;
    if (entry.kind === 'membership')
      machine.membership = JSON.parse(new TextDecoder().decode(entry.data)) as Membership;
    const before = this.history.get(entry.index);
    // State machine safety: nobody ever applies another entry at the same index.
    if (before === undefined) this.history.set(entry.index, entry);
    else expect(entry).toEqual(before);
  }

  /** Linearizable: a read sees all that anybody had applied when it was asked for. */
  private checkRead({ id, index }: ReadState): void {
    if (index === undefined) return;
    this.answered += 1;
    expect(index).toBeGreaterThanOrEqual(this.asked.get(id) ?? Infinity);
  }

  private sendSnapshot(machine: Machine, to: MemberId): void {
    const { applied: index, appliedTerm: term, membership } = machine;
    const isOk = this.isCalm || this.chance(0.7);
    const envelope = { from: machine.id, to, term: machine.raft.status().term };
    if (isOk)
      this.network.push({ type: 'snapshot', ...envelope, snapshot: { index, term, membership } });
    this.step(machine, { type: 'snapshot-sent', peer: to, isOk });
  }

  private check(machine: Machine): void {
    const { role, term, lastIndex } = machine.raft.status();
    if (role !== 'leader') return;
    // Election safety: one leader per term.
    expect(this.leaders.get(term) ?? machine.id).toBe(machine.id);
    // Leader completeness: a new leader has all that was ever committed.
    if (!this.leaders.has(term)) expect(lastIndex).toBeGreaterThanOrEqual(this.newest);
    this.leaders.set(term, machine.id);
  }

  crash(machine: Machine): void {
    // A prefix of what waited may have reached the disk.
    const kept = Math.floor(this.random.next() * (machine.writes.length + 1));
    for (const ready of machine.writes.splice(0).slice(0, kept)) this.write(machine.disk, ready);
    // The state survives as applied last, or as of the log's beginning, or what a snapshot brought.
    const { disk } = machine;
    if (machine.applied < disk.start.index || this.chance(0.5)) {
      machine.applied = disk.start.index;
      machine.appliedTerm = disk.start.term;
      machine.membership = disk.start.membership;
    }
    machine.raft = this.boot(machine.id, disk, machine.applied);
  }

  private write(disk: Disk, ready: Ready): void {
    if (ready.snapshot !== undefined) {
      disk.start = ready.snapshot;
      disk.entries = [];
    }
    if (ready.hardState !== undefined) disk.hardState = ready.hardState;
    const first = ready.entries[0];
    if (first !== undefined) disk.entries.length = first.index - disk.start.index - 1;
    disk.entries.push(...ready.entries);
  }

  deliver(): void {
    if (this.network.length === 0) return;
    const at = this.isCalm ? 0 : Math.floor(this.random.next() * this.network.length);
    const message = this.network[at] as Message;
    const isLost = !this.isCalm && this.chance(0.1);
    // Proposals and their answers are never doubled: the transport promises that.
    const mayDouble = message.type !== 'propose' && message.type !== 'propose-dropped';
    const isDoubled = !this.isCalm && mayDouble && this.chance(0.1);
    if (!isDoubled) this.network.splice(at, 1);
    const machine = this.machines.get(message.to);
    if (!isLost && machine !== undefined) this.step(machine, { type: 'message', message });
  }

  compact(machine: Machine): void {
    const index = machine.applied - Math.floor(this.random.next() * 10);
    if (machine.writes.length > 0 || index <= machine.disk.start.index) return;
    this.step(machine, { type: 'compact', index });
    const first = machine.raft.status().firstIndex;
    const { disk } = machine;
    if (machine.writes.length > 1 || first <= disk.start.index + 1) return;
    const cut = disk.entries[first - 2 - disk.start.index] as Entry;
    const { membership } = machine;
    disk.entries.splice(0, first - 1 - disk.start.index);
    disk.start = { index: cut.index, term: cut.term, membership };
  }

  change(machine: Machine): void {
    const { membership } = machine.raft.status();
    const id = 1 + Math.floor(this.random.next() * 5);
    if (membership.removed?.includes(id) === true) return;
    const role = this.chance(0.7) ? 'voter' : 'learner';
    const next = this.chance(0.4)
      ? withoutMember(membership, id)
      : withMember(membership, { ...voter(id), role });
    this.propose(machine, 'membership', encodeMembership(next));
  }

  propose(machine: Machine, kind: 'command' | 'membership', data: Uint8Array): void {
    const proposals = [{ id: (this.nextId += 1), kind, data }];
    this.step(machine, { type: 'propose', proposals });
  }

  private read(machine: Machine): void {
    this.nextId += 1;
    this.asked.set(this.nextId, this.newest);
    this.step(machine, { type: 'read-index', id: this.nextId });
  }

  act(): void {
    const machine = this.pick([...this.machines.values()]);
    const dice = this.random.next();
    if (dice < 0.5) this.deliver();
    else if (dice < 0.7) this.step(machine, { type: 'tick' });
    else if (dice < 0.85) this.propose(machine, 'command', this.random.bytes(20));
    else if (dice < 0.88) this.change(machine);
    else if (dice < 0.92) this.read(machine);
    else if (dice < 0.94) this.compact(machine);
    else if (dice < 0.95) this.crash(machine);
    else if (dice < 0.96) this.step(machine, { type: 'resumed' });
    else if (dice < 0.97)
      this.step(machine, { type: 'transfer-leadership', to: this.pick([1, 2, 3, 4, 5]) });
    else if (dice < 0.98)
      this.step(machine, { type: 'unreachable', peer: this.pick([1, 2, 3, 4, 5]) });
    else this.flush(machine);
  }

  /** Log matching: two logs with the same index and term are the same up to there. */
  checkLogs(): void {
    const machines = [...this.machines.values()];
    for (const a of machines)
      for (const b of machines) {
        let isSame = false;
        for (let at = a.disk.entries.length - 1; at >= 0; at -= 1) {
          const entry = a.disk.entries[at] as Entry;
          const other = b.disk.entries[entry.index - b.disk.start.index - 1];
          if (other === undefined) continue;
          if (isSame) expect(other).toEqual(entry);
          else isSame = other.term === entry.term;
        }
      }
  }

  heal(): void {
    this.isCalm = true;
    for (const machine of this.machines.values()) this.flush(machine);
    const target = this.newest + 5;
    for (let round = 0; round < 300; round += 1) {
      for (const machine of this.machines.values()) this.step(machine, { type: 'tick' });
      while (this.network.length > 0) this.deliver();
      for (const machine of this.machines.values())
        if (machine.raft.status().role === 'leader')
          this.propose(machine, 'command', new Uint8Array(1));
      if (this.newest >= target) return;
    }
    expect.unreachable('a healed group makes progress');
  }
}

describe('a group under drops, doubles, reorders and crashes', () => {
  const seeds = 300;
  it(`keeps the safety rules and makes progress again, for ${seeds} seeds`, () => {
    let applied = 0;
    let reads = 0;
    for (let seed = 1; seed <= seeds; seed += 1) {
      const group = new Group(seed);
      try {
        for (let at = 0; at < 1500; at += 1) group.act();
        group.checkLogs();
        applied += group.history.size;
        group.heal();
        group.checkLogs();
        reads += group.answered;
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    // The run would prove little if hardly anything happened.
    expect(applied).toBeGreaterThan(seeds * 20);
    expect(reads).toBeGreaterThan(seeds);
  });
});
