// What each member says of itself in its greeting, and what the group makes of it: the leader writes
// it into the membership, so that all know it, also after a restart and from a snapshot.
// An incarnation is of one disk: a member's key on another disk is not the member any more, because
// what that promised (a vote, an entry) is lost, and it could promise it a second time.
// A version is what a member's release can apply: the group writes only what all its members know.
// Pure. Source: etcd's cluster version (server/etcdserver/version).
import type { Member, MemberId, Membership } from '../raft/types.ts';

export interface Announcement {
  /** Made with the data directory. */
  readonly incarnation: string;
  /** The newest version of entries that its release knows. */
  readonly entryVersion: number;
}

/** Of a process that greets: what its disk held when it started. */
export interface DiskClaim {
  readonly incarnation: string;
  /** Of this process; another one after each start. */
  readonly run: string;
  readonly term: number;
  readonly lastIndex: number;
}

/** What a leader knows that a member has acknowledged, in its own term. */
export interface Acknowledged {
  readonly term: number;
  readonly index: number;
}

/** Of a member that never said what it knows. */
const firstVersion = 1;

/** The newest version of entries that every member knows. It never falls. */
export function entryVersionOf({ members }: Membership): number {
  const known = members.map(({ entryVersion = firstVersion }) => entryVersion);
  return known.length === 0 ? firstVersion : Math.min(...known);
}

/** Who keeps the group from writing entries of `version`. */
export function behind({ members }: Membership, version: number): readonly Member[] {
  return members.filter(({ entryVersion = firstVersion }) => entryVersion < version);
}

/** The membership with what its members have said since; undefined: nothing new. */
export function withAnnouncements(
  membership: Membership,
  announced: (id: MemberId) => Announcement | undefined,
): Membership | undefined {
  const members = membership.members.map((member) => {
    const said = announced(member.id);
    if (said === undefined) return member;
    const entryVersion = Math.max(said.entryVersion, member.entryVersion ?? firstVersion);
    const { incarnation = said.incarnation } = member;
    const isKnown = incarnation === member.incarnation && entryVersion === member.entryVersion;
    return isKnown ? member : { ...member, incarnation, entryVersion };
  });
  const isNew = members.some((member, i) => member !== membership.members[i]);
  return isNew ? { ...membership, members } : undefined;
}

/**
 * Why a member that greets has lost what it promised; undefined: as far as is known here it has not.
 * `acknowledged`: before this process of it was heard of.
 */
export function lossOf(
  claim: DiskClaim,
  member: Member | undefined,
  acknowledged: Acknowledged | undefined,
): string | undefined {
  const { incarnation } = member ?? {};
  if (incarnation !== undefined && incarnation !== claim.incarnation)
    return 'came back with its key on another disk than it joined with';
  // Of a later term, it may have been told by a newer leader to give entries up.
  if (acknowledged === undefined || claim.term > acknowledged.term) return undefined;
  if (claim.lastIndex >= acknowledged.index) return undefined;
  return `acknowledged entry ${acknowledged.index}, but its log ended at ${claim.lastIndex} when it was started`;
}

/** What the member itself, and who runs it, is told. */
export function lossSentence(member: Member | undefined, id: MemberId, loss: string): string {
  const name = member === undefined || member.name === '' ? undefined : member.name;
  const who = name === undefined ? `Member ${id}` : `Member ${name}`;
  return (
    `${who} ${loss}: its disk was replaced, or put back from an older copy, and it could vote twice. ` +
    `Remove it on the machine that leads (\`npm run cluster -- remove ${name ?? 'NAME'}\`), invite it ` +
    'anew, and start it with an unused data directory.'
  );
}
