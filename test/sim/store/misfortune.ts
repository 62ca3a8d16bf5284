// What goes wrong, chosen from the seed's faults, one after the other while the storm lasts; and what
// is done about it: processes are started again, broken machines replaced by new ones.
// It never breaks what cannot be mended: a disk is only damaged where a majority does without it.
import { unreachable } from '#kube/base/assert.ts';
import { encodeMembership, votersOf } from '../../../electron/controlplane/raft/membership.ts';
import { majority } from '../../../electron/controlplane/raft/quorum.ts';
import type { MemberId } from '../../../electron/controlplane/raft/types.ts';
import { commandVersion } from '../../../electron/controlplane/store/command-codec.ts';
import type { CommandResult } from '../../../electron/controlplane/store/commands.ts';
import type { ReplicaGroup, SimMember } from '../replica-group.ts';
import { pause } from './clients.ts';
import type { MemberState, ObservedMachine } from './member-state.ts';
import type { Fault, Plan } from './plan.ts';
import type { World } from './world.ts';

export type Group = ReplicaGroup<CommandResult, ObservedMachine>;
type Member = SimMember<CommandResult, ObservedMachine>;

const membersMax = 7;
const machinesMax = 10;

export interface MisfortuneDeps {
  readonly world: World;
  readonly plan: Plan;
  readonly group: Group;
  readonly states: ReadonlyMap<MemberId, MemberState>;
  readonly note: (text: string) => void;
}

export class Misfortune {
  readonly #deps: MisfortuneDeps;
  /** Their disks are damaged: they may refuse to start. */
  readonly damaged = new Set<MemberId>();
  /** Of these, whose disk is another one now: nobody takes their word any more. */
  readonly lost = new Set<MemberId>();
  /** They were taken out of the cluster; their processes and disks may still be there. */
  readonly removed = new Set<MemberId>();
  #nextId: MemberId;
  #isOver = false;

  constructor(deps: MisfortuneDeps) {
    this.#deps = deps;
    this.#nextId = deps.plan.size + 1;
  }

  async run(): Promise<void> {
    const { world, plan, group } = this.#deps;
    const { weather, refusesRemoved } = plan;
    group.network.weather = weather;
    group.network.refusesRemoved = refusesRemoved;
    while (!this.#isOver) {
      await pause(world, world.integer(1, plan.paceMs));
      if (this.#isOver) return;
      this.#strike(world.pick(plan.faults));
      this.#mend();
    }
  }

  /** Everything works again, but for what is broken for good. */
  end(): void {
    const { group, states } = this.#deps;
    this.#isOver = true;
    group.network.weather = { lossRate: 0, duplicateRate: 0, delayMsMax: 2, straggleMsMax: 0 };
    group.network.healAll();
    for (const { disk } of group.members.values()) disk.setCapacity(Infinity);
    for (const state of states.values()) state.isFull = false;
    for (const id of group.members.keys()) this.#update(id);
    void this.#keepRunning();
  }

  /** As its supervisor does: what ends is started again, unless its disk is damaged. */
  async #keepRunning(): Promise<void> {
    const { world, group } = this.#deps;
    for (;;) {
      for (const member of group.members.values()) {
        const isBroken = this.damaged.has(member.id) && member.fatal?.name === 'LogCorruptError';
        const isLost = isBroken || this.lost.has(member.id);
        if (!member.isUp && !isLost) this.#startLater(member, world.integer(1, 100));
      }
      await pause(world, 300);
    }
  }

  #startLater(member: Member, delayMs: number): void {
    const { world, group, note } = this.#deps;
    world.after(delayMs, () => {
      if (member.isUp || (this.removed.has(member.id) && this.#isOver)) return;
      note(`member ${member.id} starts`);
      void group.start(member.id);
    });
  }

  /** Now and then faults end. */
  #mend(): void {
    const { world, group, states } = this.#deps;
    if (world.chance(0.15)) group.network.healAll();
    for (const member of group.members.values())
      if (!member.isUp && world.chance(0.3)) this.#startLater(member, world.integer(1, 800));
    for (const [id, state] of states)
      if (world.chance(0.1)) {
        state.isFull = false;
        group.member(id).disk.setCapacity(Infinity);
      }
  }

  #strike(fault: Fault): void {
    const { world, group, note } = this.#deps;
    const members = [...group.members.values()];
    const member = world.pick(members);
    const { id } = member;
    const ids = members.map((one) => one.id);
    switch (fault) {
      case 'partition': {
        const some = ids.filter(() => world.chance(0.5));
        note(`${some.join(', ')} are cut off from the others`);
        return group.network.part(
          some,
          ids.filter((one) => !some.includes(one)),
        );
      }
      case 'one-way': {
        const to = world.pick(ids);
        note(`nothing gets from ${id} to ${to}`);
        return group.network.cut(id, to);
      }
      case 'isolate-leader': {
        const leader = this.#leader();
        if (leader === undefined) return;
        note(`leader ${leader.id} is cut off`);
        return group.network.part(
          [leader.id],
          ids.filter((one) => one !== leader.id),
        );
      }
      case 'freeze':
        return this.#freeze(member);
      case 'sleep':
        note('everybody sleeps for an hour');
        world.count('everybody asleep for an hour');
        return world.sleep(3_600_000);
      case 'skew':
        world.count('clock set');
        return member.host.skew(world.integer(-3_600_000, 3_600_000));
      case 'members':
        return this.#changeMembers();
      case 'update':
        return this.#update(id);
      case 'transfer':
        return this.#transfer(world.pick(ids));
      default:
        return this.#breakMachine(fault, member);
    }
  }

  #breakMachine(
    fault: Exclude<
      Fault,
      | 'partition'
      | 'one-way'
      | 'isolate-leader'
      | 'freeze'
      | 'sleep'
      | 'skew'
      | 'members'
      | 'transfer'
      | 'update'
    >,
    member: Member,
  ): void {
    const { world, group, states, note } = this.#deps;
    const { id, disk } = member;
    note(`${fault}: ${fault === 'blackout' ? 'all' : id}`);
    switch (fault) {
      case 'crash':
        world.count('crash');
        return group.crash(id);
      case 'kill':
        world.count('kill');
        return group.kill(id);
      case 'blackout':
        world.count('blackout');
        for (const one of group.members.keys()) group.crash(one);
        return;
      case 'write-fails':
        return disk.failNext();
      case 'sync-fails': {
        const state = states.get(id);
        if (state !== undefined) state.isSyncFailing = true;
        return;
      }
      case 'flip':
        return this.#flip(member);
      case 'lose-disk':
        return this.#loseDisk(member);
      case 'log-full':
        return disk.setCapacity(disk.usedBytes());
      case 'state-full': {
        const state = states.get(id);
        if (state !== undefined) state.isFull = true;
        return;
      }
      default:
        return unreachable(fault);
    }
  }

  #freeze(member: Member): void {
    const { world, plan, note } = this.#deps;
    const electionMs = plan.timing.electionTicks * plan.timing.tickMs;
    const forMs = world.integer(1, 5 * electionMs);
    note(`member ${member.id} is frozen for ${forMs} ms`);
    // As its own wall clock has it, for an hour.
    if (world.chance(0.5)) {
      world.count('frozen for an hour');
      member.host.skew(3_600_000);
    }
    member.host.freeze(forMs);
  }

  /** The power goes, and a bit of the log is another when it comes back. */
  #flip(member: Member): void {
    const { world, group } = this.#deps;
    if (!this.#isSpare(member.id)) return;
    group.crash(member.id);
    const names = member.disk.list();
    if (names.length === 0) return;
    const name = world.pick(names);
    const bits = member.disk.read(name).length * 8;
    if (bits === 0) return;
    this.damaged.add(member.id);
    world.count('flipped bit');
    member.disk.flipBit(name, world.integer(0, bits - 1));
  }

  /** The machine gets an empty disk, and its key back: it would promise everything a second time. */
  #loseDisk({ id }: Member): void {
    const { world, group } = this.#deps;
    if (!this.#isSpare(id)) return;
    this.damaged.add(id);
    this.lost.add(id);
    world.count('disk lost');
    group.replaceDisk(id);
  }

  /** To the present release, when it runs the one before. */
  #update(id: MemberId): void {
    const { world, group, states, note } = this.#deps;
    const state = states.get(id);
    if (state === undefined || state.entryVersion >= commandVersion) return;
    note(`member ${id} is updated`);
    world.count('release updated');
    state.entryVersion = commandVersion;
    if (group.member(id).isUp) group.kill(id);
  }

  /** Whether the others are enough, also when the membership is about to change by one. */
  #isSpare(id: MemberId): boolean {
    const { group } = this.#deps;
    if (this.damaged.size > 0) return false;
    if (this.removed.has(id)) return true;
    for (const { running } of group.running()) {
      const { membership } = running.replica.standing;
      // Of an old release, it would keep the others from the new one's commands for ever.
      const known = membership.members.find((one) => one.id === id)?.entryVersion;
      if (known !== commandVersion) return false;
      const voters = votersOf(membership);
      const left = voters.filter((one) => one !== id).length;
      if (left < majority(voters.length + 1) || voters.length < 3) return false;
    }
    return group.running().length > 0;
  }

  #leader(): Member | undefined {
    const { group } = this.#deps;
    return [...group.members.values()]
      .filter(({ running }) => running?.replica.standing.role === 'leader')
      .toSorted((a, b) => termOf(b) - termOf(a))[0];
  }

  #transfer(to: MemberId): void {
    const replica = this.#leader()?.running?.replica;
    if (replica === undefined) return;
    this.#deps.note(`leadership goes to ${to}`);
    replica.transferLeadership(to).catch(() => {});
  }

  #changeMembers(): void {
    const { world, group, note } = this.#deps;
    const leader = this.#leader();
    const replica = leader?.running?.replica;
    if (leader === undefined || replica === undefined) return;
    const { members } = replica.standing.membership;
    const member = world.pick(members);
    const tell =
      (what: string) =>
      (error?: unknown): void => {
        note(`${what}: ${error instanceof Error ? error.message : 'done'}`);
      };
    const dice = world.integer(0, 5);
    if (dice === 0 && members.length < membersMax && group.members.size < machinesMax) {
      const id = this.#nextId++;
      void group.join(id);
      const added = replica.members.addMember({ id, name: `m${id}`, addresses: [] });
      void added.then(() => world.count('member added')).catch(() => {});
      return void added.then(tell(`adding ${id}`), tell(`adding ${id}`));
    }
    const what = dice <= 2 ? 'promote' : dice === 3 ? 'demote' : dice === 4 ? 'remove' : 'swap';
    const failed = tell(`${what} ${member.id}`);
    const done = (): void => {
      world.count(what === 'remove' ? 'member removed' : 'voters changed');
      failed();
    };
    if (what === 'promote') void replica.members.promote(member.id).then(done, failed);
    else if (what === 'demote') void replica.members.demote(member.id).then(done, failed);
    else if (what === 'remove')
      void replica.members.remove(member.id).then(() => {
        done();
        this.#retire(member.id);
      }, failed);
    // Who knows better than the policy: the protocol refuses what is not safe.
    else
      void replica
        .changeMembership(
          encodeMembership({
            ...replica.standing.membership,
            members: members.map((one) =>
              one.id === member.id || world.chance(0.2)
                ? { ...one, role: one.role === 'voter' ? 'learner' : 'voter' }
                : one,
            ),
          }),
        )
        .then(done, failed);
  }

  /** Out of the cluster: it stops, or goes on for a while as if nothing had been. */
  #retire(id: MemberId): void {
    const { world, group } = this.#deps;
    this.removed.add(id);
    this.damaged.delete(id);
    if (world.chance(0.5)) group.kill(id);
  }
}

function termOf({ running }: Member): number {
  return running?.replica.standing.term ?? 0;
}
