// Who keeps the home's state, in words: one machine, two, or three and more that decide together.
// Pure. Source of the arithmetic: a majority of the voters has to run (raft/quorum.ts).
import type { MemberReport, MembersReport } from '#kube/api/flotilla.ts';
import { joinWords, plural } from './format.ts';
import type { Tone } from './vocabulary.ts';

export interface Keeper {
  readonly name: string;
  /** `leads`, `votes`, `keeps a copy`; with what is the matter behind it. */
  readonly words: string;
  readonly tone: Tone;
  /** Whose page this is. */
  readonly isSelf: boolean;
  /** For experts: `voter · 10.0.0.5:7444 · 12 entries behind`. */
  readonly details: string;
}

export interface Keepers {
  readonly headline: string;
  /** What may be lost, and what it takes; '' when there is nothing to say. */
  readonly detail: string;
  readonly keepers: readonly Keeper[];
  /** The server's own sentence on why nothing can be answered. */
  readonly problem: string;
}

/** More than what is on its way between two machines that are well. */
const behindEntries = 1_000;

export function describeKeepers({ members, problem }: MembersReport): Keepers {
  const sorted = members.toSorted((a, b) => order(a) - order(b) || a.name.localeCompare(b.name));
  return {
    headline: headlineOf(sorted, problem),
    detail: problem === null ? detailOf(members) : '',
    keepers: sorted.map(keeperOf),
    problem: problem ?? '',
  };
}

function order({ isLeader, role }: MemberReport): number {
  if (isLeader) return 0;
  return role === 'voter' ? 1 : 2;
}

function headlineOf(members: readonly MemberReport[], problem: string | null): string {
  const [first, second] = members;
  if (problem !== null) return 'No majority of the machines that decide can be reached';
  if (first === undefined) return 'Nothing is known yet of who keeps the state';
  if (second === undefined) return `${nameOf(first)} alone keeps the state of this home`;
  const leader = members.find(({ isLeader }) => isLeader);
  if (members.length === 2) {
    const other = leader === first ? second : first;
    return `${nameOf(leader ?? first)} keeps the state of this home, and ${nameOf(other)} keeps a copy`;
  }
  const leads = leader === undefined ? '' : `; ${nameOf(leader)} leads`;
  return `${plural(members.length, 'machine')} keep the state of this home${leads}`;
}

function detailOf(members: readonly MemberReport[]): string {
  if (members.length === 0) return '';
  if (members.length === 1)
    return 'If it is lost, so is what runs where. With two more, the home survives the loss of any one.';
  if (members.length === 2)
    return 'It takes a third machine before the home survives the loss of one.';
  const voters = members.filter(({ role }) => role === 'voter');
  const majority = Math.floor(voters.length / 2) + 1;
  const away = members.filter(({ health }) => health === 'unreachable');
  const awayVoters = away.filter(({ role }) => role === 'voter').length;
  const spare = voters.length - awayVoters - majority;
  const names = joinWords(away.map(nameOf));
  const missing = away.length === 0 ? '' : `${names} ${away.length === 1 ? 'is' : 'are'} away. `;
  if (spare <= 0)
    return `${missing}If one more that votes is lost, nothing can be changed until it is back.`;
  return `${missing}The home survives the loss of ${spare === 1 ? 'any one of them' : `any ${spare} of them`}.`;
}

function keeperOf(member: MemberReport): Keeper {
  const { role, isLeader, isSelf, health, lag, addresses } = member;
  const duty = isLeader ? 'leads' : role === 'voter' ? 'votes' : 'keeps a copy, has no vote';
  const isBehind = lag !== null && lag >= behindEntries;
  const matter =
    health === 'unreachable'
      ? ', but is away'
      : isBehind
        ? `, and is ${plural(lag, 'change')} behind`
        : '';
  const tone: Tone =
    health === 'unreachable' ? 'trouble' : health === 'unknown' ? 'gone' : isBehind ? 'busy' : 'ok';
  const behind = lag === null ? '' : lag === 0 ? 'up to date' : `${lag} entries behind`;
  return {
    name: nameOf(member),
    words: `${duty}${matter}`,
    tone,
    isSelf,
    details: [role, ...addresses, behind].filter((text) => text !== '').join(' · '),
  };
}

function nameOf({ name, id }: MemberReport): string {
  return name === '' ? String(id) : name;
}
