// Which machines of the home keep the cluster's state, beside the one where the app is: pure, asked by the member that
// leads. The aim is three copies on machines that run day and night; with two machines one copy has the vote (voters.ts
// decides votes). One change at a time; nothing on a blip: a machine has been ready for minutes before it is chosen, and away
// for long before it is given up. Members that a person made are counted, and never touched.
import { unreachable } from '#kube/base/assert.ts';
import { isFit, unfitness, type MachineFacts } from './fitness.ts';

export interface MemberFacts {
  readonly name: string;
  readonly isVoter: boolean;
  readonly isAlwaysOn: boolean;
  /** It is heard of, and has (nearly) all that the leader has. */
  readonly isRunning: boolean;
  /** Since when it is not heard of, at the earliest since this one leads; undefined: it is. */
  readonly awaySinceMs: number | undefined;
  readonly hasCaughtUp: boolean;
}

/** Whom a leader chose, and what became of it. */
export interface Chosen {
  /** Of its Node: another one of its name is another machine. */
  readonly uid: string;
  readonly state: 'chosen' | 'member' | 'failed';
  /** By the wall clock. */
  readonly sinceMs: number;
  /** Of a failure. */
  readonly why?: string;
}

export interface Home {
  readonly machines: readonly MachineFacts[];
  readonly members: readonly MemberFacts[];
  readonly chosen: ReadonlyMap<string, Chosen>;
  /** How many copies a person wants. */
  readonly wanted: number;
  readonly nowMs: number;
}

export type Step =
  /** It gets an invitation. */
  | { readonly type: 'choose'; readonly name: string; readonly uid: string }
  /** It is a member now. */
  | { readonly type: 'settle'; readonly name: string }
  /** It did not become one: another is tried. */
  | { readonly type: 'fail'; readonly name: string; readonly why: string }
  /** It is no member any more, as soon as the others can do without it. */
  | { readonly type: 'remove'; readonly name: string; readonly why: string };

/** How long a machine may take to fetch a control plane and the state. */
export const joinMs = 15 * 60_000;
/** As a voter is given up (replica/voters.ts). */
export const awayMs = 30 * 60_000;
/** A machine that could not become a member is asked again. */
export const retryMs = 6 * 3_600_000;

/** Undefined: all is as it should be, or something is waited for. */
export function nextStep(home: Home): Step | undefined {
  const underWay = [...home.chosen].find(([, { state }]) => state === 'chosen');
  if (underWay !== undefined) return stepOfJoining(home, ...underWay);
  return removal(home) ?? choice(home);
}

function stepOfJoining(home: Home, name: string, chosen: Chosen): Step | undefined {
  const machine = machineOf(home, name, chosen);
  if (machine === undefined) return { type: 'remove', name, why: 'its Node was deleted' };
  if (machine.isForbidden) return { type: 'remove', name, why: 'it is not to keep the state' };
  const member = memberOf(home, name);
  if (member?.isRunning === true && member.hasCaughtUp) return { type: 'settle', name };
  if (machine.failure !== undefined) return { type: 'fail', name, why: machine.failure };
  if (home.nowMs - chosen.sinceMs < joinMs) return undefined;
  const last = machine.waitsFor ?? 'nothing was heard of it';
  const minutes = Math.round(joinMs / 60_000);
  return { type: 'fail', name, why: `it did not come up within ${minutes} minutes (${last})` };
}

/** One that is to go: because it has to, or because others keep the state instead. */
function removal(home: Home): Step | undefined {
  const placed = [...home.chosen].filter(([, { state }]) => state === 'member');
  for (const [name, chosen] of placed) {
    const machine = machineOf(home, name, chosen);
    if (machine === undefined) return { type: 'remove', name, why: 'its Node was deleted' };
    if (machine.isForbidden) return { type: 'remove', name, why: 'it is not to keep the state' };
    if (memberOf(home, name) === undefined)
      return { type: 'remove', name, why: 'a person took it out of the group' };
  }
  const dead = placed.find(([name]) => isDead(home, memberOf(home, name)));
  if (dead !== undefined && isReached(home))
    return { type: 'remove', name: dead[0], why: 'it was away for long, and others are there' };
  const surplus = placed.findLast(([name]) => isSurplus(home, name));
  return surplus && { type: 'remove', name: surplus[0], why: 'there are more copies than wanted' };
}

function isSurplus(home: Home, name: string): boolean {
  const { members, wanted } = home;
  const others = members.filter((member) => member.name !== name && member.isRunning);
  const alwaysOn = others.filter((member) => member.isAlwaysOn).length;
  return wanted === 1 ? others.length >= 1 : alwaysOn >= wanted;
}

function choice(home: Home): Step | undefined {
  if (isReached(home)) return undefined;
  const { members, machines, chosen, nowMs, wanted } = home;
  const isFree = ({ name, uid }: MachineFacts): boolean => {
    const before = chosen.get(name);
    const hasFailed = before?.uid === uid && before.state === 'failed';
    if (hasFailed && nowMs - before.sinceMs < retryMs) return false;
    return members.every((member) => member.name !== name);
  };
  const candidates = machines.filter((one) => isFree(one) && isFit(one, nowMs)).toSorted(byRank);
  const [best] = candidates;
  if (best === undefined) return undefined;
  const isShort = lasting(home).length < wanted;
  return isShort || best.isAlwaysOn
    ? { type: 'choose', name: best.name, uid: best.uid }
    : undefined;
}

/** Enough copies on machines that run day and night: a laptop beside them is one more. */
function isReached(home: Home): boolean {
  const there = lasting(home);
  return home.wanted <= 1 || there.filter(({ isAlwaysOn }) => isAlwaysOn).length >= home.wanted;
}

function lasting(home: Home): readonly MemberFacts[] {
  return home.members.filter((member) => !isDead(home, member));
}

function isDead({ nowMs }: Home, member: MemberFacts | undefined): boolean {
  return member?.awaySinceMs !== undefined && nowMs - member.awaySinceMs >= awayMs;
}

/** Day and night, a quick disk, much memory; what a disk takes is not known of all. */
function byRank(a: MachineFacts, b: MachineFacts): number {
  const unknownMs = 20;
  return (
    Number(b.isAlwaysOn) - Number(a.isAlwaysOn) ||
    (a.syncMs ?? unknownMs) - (b.syncMs ?? unknownMs) ||
    b.memoryBytes - a.memoryBytes ||
    (a.name < b.name ? -1 : 1)
  );
}

function machineOf(home: Home, name: string, { uid }: Chosen): MachineFacts | undefined {
  return home.machines.find((one) => one.name === name && one.uid === uid);
}

function memberOf(home: Home, name: string): MemberFacts | undefined {
  return home.members.find((member) => member.name === name);
}

/** What the page and `kubectl describe node` show of a machine. */
export function sentenceOf(home: Home, machine: MachineFacts): string {
  const { name, uid } = machine;
  const chosen = home.chosen.get(name);
  const own = chosen?.uid === uid ? chosen : undefined;
  const member = memberOf(home, name);
  if (own?.state === 'chosen') return "Gets a copy of the cluster's state now.";
  if (member !== undefined) return memberSentence(home, member);
  const unfit = unfitness(machine, home.nowMs);
  if (unfit !== undefined) return `Keeps no copy of the cluster's state: ${unfit}.`;
  if (own?.state === 'failed')
    return `Keeps no copy of the cluster's state: ${own.why ?? 'it failed'}; asked again some hours later.`;
  if (home.wanted <= 1)
    return "Keeps no copy of the cluster's state: none on other machines is wanted.";
  const count = lasting(home).length;
  return isReached(home)
    ? `Keeps no copy of the cluster's state: ${count} others do.`
    : "Keeps no copy of the cluster's state yet: one machine at a time gets one.";
}

function memberSentence(home: Home, member: MemberFacts): string {
  const voters = home.members.filter(({ isVoter }) => isVoter).length;
  const kind = standing(member, voters, home.members.length);
  switch (kind) {
    case 'only-voter':
      return "Keeps the cluster's state, and alone decides: of two machines one has the vote, since two votes would stop at the loss of either.";
    case 'voter':
      return `Keeps the cluster's state, with one of ${voters} votes.`;
    case 'away':
      return "Keeps a copy of the cluster's state, and nothing is heard of it.";
    case 'learner':
      return "Keeps a live copy of the cluster's state, without a vote.";
    default:
      return unreachable(kind);
  }
}

function standing(
  { isVoter, isRunning }: MemberFacts,
  voters: number,
  members: number,
): 'away' | 'only-voter' | 'voter' | 'learner' {
  if (!isRunning) return 'away';
  if (!isVoter) return 'learner';
  return voters === 1 && members > 1 ? 'only-voter' : 'voter';
}
