// Who takes part: how a membership is written into an entry, which change is allowed, and which
// membership is in force. One rule: a membership is in force from the moment its entry is in the
// log, committed or not, and out of force when the entry is cut off again (thesis §4.1).
// Changes differ in at most one voter, so that the majorities of old and new always overlap.
import { assert } from '#kube/base/assert.ts';
import type { Member, MemberId, Membership } from './types.ts';

const formatVersion = 1;
const text = { encoder: new TextEncoder(), decoder: new TextDecoder('utf-8', { fatal: true }) };

/**
 * Of those that left before, nobody remembers: they are strangers with a log of the past and no vote.
 * It is written with each membership and each state, so it has a bound: about 2 KiB.
 */
const removedMax = 128;

export const nobody: Membership = { members: [] };

export function encodeMembership(membership: Membership): Uint8Array {
  const { removed } = membership;
  const members = membership.members.map(
    ({ id, role, name, addresses, incarnation, entryVersion }) => ({
      id,
      role,
      name,
      addresses,
      incarnation,
      entryVersion,
    }),
  );
  return text.encoder.encode(JSON.stringify({ version: formatVersion, members, removed }));
}

/** Throws when `data` is not a membership or of a version this program does not know. */
export function decodeMembership(data: Uint8Array): Membership {
  const value: unknown = JSON.parse(text.decoder.decode(data));
  if (!isRecord(value)) throw new TypeError('A membership must be an object');
  if (value['version'] !== formatVersion)
    throw new TypeError(
      `A membership of format ${String(value['version'])} is unknown here (this program knows ` +
        `${formatVersion}): update this machine`,
    );
  const members: unknown = value['members'];
  if (!Array.isArray(members)) throw new TypeError('A membership must list its members');
  const decoded = members.map(decodeMember);
  for (let i = 1; i < decoded.length; i += 1)
    if ((decoded[i - 1]?.id ?? 0) >= (decoded[i]?.id ?? 0))
      throw new TypeError('Members must be listed once each, by ascending id');
  const removed: unknown = value['removed'];
  if (removed === undefined) return { members: decoded };
  if (!Array.isArray(removed) || !removed.every((id) => isMemberId(id)))
    throw new TypeError('Removed members must be listed by their ids');
  return { members: decoded, removed };
}

function decodeMember(value: unknown): Member {
  if (!isRecord(value)) throw new TypeError('A member must be an object');
  const { id, role, name, addresses, incarnation, entryVersion } = value;
  if (!isMemberId(id))
    throw new TypeError(`A member's id must be a whole number from 1, not ${String(id)}`);
  if (role !== 'voter' && role !== 'learner')
    throw new TypeError(`Member ${id} must be a voter or a learner, not ${String(role)}`);
  if (typeof name !== 'string') throw new TypeError(`Member ${id} must have a name`);
  if (!Array.isArray(addresses) || !addresses.every((address) => typeof address === 'string'))
    throw new TypeError(`Member ${id} must have a list of addresses`);
  if (incarnation !== undefined && typeof incarnation !== 'string')
    throw new TypeError(`Member ${id}'s incarnation must be a text`);
  if (entryVersion !== undefined && typeof entryVersion !== 'number')
    throw new TypeError(`Member ${id}'s version of entries must be a number`);
  return {
    id,
    role,
    name,
    addresses,
    ...(incarnation === undefined ? {} : { incarnation }),
    ...(entryVersion === undefined ? {} : { entryVersion }),
  };
}

function isMemberId(value: unknown): value is MemberId {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Adds the member, or replaces the one of the same id. */
export function withMember(membership: Membership, member: Member): Membership {
  const others = membership.members.filter(({ id }) => id !== member.id);
  return { ...membership, members: [...others, member].sort((a, b) => a.id - b.id) };
}

export function withoutMember(membership: Membership, id: MemberId): Membership {
  const members = membership.members.filter((member) => member.id !== id);
  if (members.length === membership.members.length) return membership;
  const removed = [...(membership.removed ?? []), id].slice(-removedMax);
  return { members, removed };
}

export function votersOf(membership: Membership): MemberId[] {
  return membership.members.filter(({ role }) => role === 'voter').map(({ id }) => id);
}

/**
 * Whether `next` may follow: it has a voter, at most one voter comes or goes, and nobody is back who
 * was removed.
 */
export function isAllowedChange(current: Membership, next: Membership): boolean {
  const before = votersOf(current);
  const after = votersOf(next);
  const kept = after.filter((voter) => before.includes(voter)).length;
  const { removed = [] } = current;
  if (next.members.some(({ id }) => removed.includes(id))) return false;
  return after.length > 0 && before.length + after.length - 2 * kept <= 1;
}

interface InForce {
  /** Of its entry; of the snapshot for the oldest. */
  readonly index: number;
  readonly membership: Membership;
}

/** The memberships that the log may fall back to, and what follows from the newest. */
export class MembershipHistory {
  /** By index, ascending; never empty. */
  private list: InForce[];
  private newest: InForce;
  /** Of the membership in force, by id, ascending. */
  voters: readonly MemberId[] = [];

  constructor(index: number, membership: Membership) {
    this.newest = { index, membership };
    this.list = [this.newest];
    this.settle();
  }

  get current(): Membership {
    return this.newest.membership;
  }

  /** Of the entry that put the membership in force. */
  get index(): number {
    return this.newest.index;
  }

  /**
   * Whether `id` votes, or did until a change that is not committed. The latter may be needed as a
   * leader to get that change committed: no other may have it (thesis §4.2.2, figure 4.6).
   */
  mayLead(id: MemberId, commit: number): boolean {
    for (let at = this.list.length - 1; at >= 0; at -= 1) {
      const entry = this.list[at];
      if (entry === undefined) break;
      if (votersOf(entry.membership).includes(id)) return true;
      if (entry.index <= commit) break;
    }
    return false;
  }

  append(index: number, membership: Membership): void {
    assert(index > this.newest.index, 'memberships come in the order of the log');
    this.list.push({ index, membership });
    this.settle();
  }

  /** The entries from `index` on were cut off: true when that brings back an older membership. */
  truncateFrom(index: number): boolean {
    if (this.newest.index < index) return false;
    this.list = this.list.filter((entry) => entry.index < index);
    this.settle();
    return true;
  }

  /** A snapshot takes the place of the log. */
  restore(index: number, membership: Membership): void {
    this.list = [{ index, membership }];
    this.settle();
  }

  /** Entries up to `index` are forgotten: of those only the newest membership is kept. */
  compact(index: number): void {
    while (this.list.length > 1 && (this.list[1]?.index ?? 0) <= index) this.list.shift();
  }

  private settle(): void {
    const newest = this.list.at(-1);
    assert(newest !== undefined, 'a log is never cut off behind its snapshot');
    this.newest = newest;
    this.voters = votersOf(newest.membership);
  }
}
