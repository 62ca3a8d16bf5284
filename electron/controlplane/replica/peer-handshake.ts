// What two members say before anything else, each once: `magic (8), newest version (2), oldest
// version (2), length (4), JSON`. Pure. The form never changes, so that any two releases can tell
// each other why they don't talk; what comes after may.
// Invariant: TLS has already shown that the other holds a member's key; this is about which one,
// of which cluster.
import type { Member, MemberId, Membership } from '../raft/types.ts';
import {
  entryVersionOf,
  lossOf,
  lossSentence,
  type Acknowledged,
  type DiskClaim,
} from './announcements.ts';
import { PeerProtocolError } from './peer-bytes.ts';

const magic = Buffer.from('FLTPEER\n', 'latin1');
const headBytes = 16;
const contentBytesMax = 64 * 1024;
/** Spoken here. Members are updated one after the other: a new one comes with the old one kept. */
const newestVersion = 1;
const oldestVersion = 1;
const addressesMax = 16;

/** What a connection carries: small and urgent messages, entries, or one snapshot. */
export type Lane = 'control' | 'bulk' | 'snapshot';
const lanes: readonly unknown[] = ['control', 'bulk', 'snapshot'] satisfies Lane[];

/** Of the side that connected. */
export interface Hello {
  readonly clusterId: string;
  readonly from: MemberId;
  /** Whom it believes to have reached. */
  readonly to: MemberId;
  readonly lane: Lane;
  /** Where it listens itself, best first. */
  readonly addresses: readonly string[];
  /** Meant to run day and night, unlike a laptop. */
  readonly isAlwaysOn: boolean;
  /** Absent: a release that did not say so. */
  readonly disk?: DiskClaim;
  /** The newest version of entries that its release knows. Absent: the first. */
  readonly entryVersion?: number;
}

/** Why members don't talk. It does not go away by trying again soon. */
const reasons = [
  'wrong-cluster',
  'not-me',
  'wrong-key',
  'removed',
  'version',
  'too-old',
  'lost-data',
] as const;
export type RefusalReason = (typeof reasons)[number];

export interface Refusal {
  readonly reason: RefusalReason;
  /** A sentence for a person on the refused side. */
  readonly message: string;
}

/** A greeting as it came: the versions its sender speaks, and its content, not looked at yet. */
export interface Greeting {
  readonly newest: number;
  readonly oldest: number;
  readonly content: unknown;
}

/** Who judges a hello. */
export interface Judge {
  readonly clusterId: string;
  readonly id: MemberId;
  /** Committed, as far as this member knows. */
  membership(): Membership;
  /** What the peer has acknowledged to this member, which leads, before its process `run`. */
  acknowledged(peer: MemberId, run: string): Acknowledged | undefined;
}

export function encodeHello(hello: Hello): Buffer {
  return encodeGreeting(hello, newestVersion, oldestVersion);
}

export function encodeAnswer(refusal: Refusal | undefined): Buffer {
  return encodeGreeting(refusal ?? {}, newestVersion, oldestVersion);
}

export function encodeGreeting(content: object, newest: number, oldest: number): Buffer {
  const json = Buffer.from(JSON.stringify(content), 'utf8');
  const head = Buffer.alloc(headBytes);
  magic.copy(head);
  head.writeUInt16LE(newest, 8);
  head.writeUInt16LE(oldest, 10);
  head.writeUInt32LE(json.length, 12);
  return Buffer.concat([head, json]);
}

/** The hello of a greeting, or why it is refused. `certified`: whose key the connection has. */
export function judgeHello(greeting: Greeting, certified: MemberId, judge: Judge): Hello | Refusal {
  const version = judgeVersion(greeting);
  if (version !== undefined) return version;
  const hello = helloOf(greeting.content);
  const who = `Member ${hello.from}`;
  if (hello.clusterId !== judge.clusterId)
    return {
      reason: 'wrong-cluster',
      message: `${who} belongs to cluster ${hello.clusterId}, this is cluster ${judge.clusterId}. If that cluster was given up for this one, let the machine join this one anew.`,
    };
  if (hello.from !== certified)
    return {
      reason: 'wrong-key',
      message: `${who} showed the key of member ${certified}: its data directory was mixed with another's. Let the machine join anew.`,
    };
  if (hello.to !== judge.id)
    return {
      reason: 'not-me',
      message: `${who} looked for member ${hello.to}, here is member ${judge.id}.`,
    };
  return judgeMember(hello, judge) ?? hello;
}

/** What the membership says of who greets. */
export function judgeMember(
  { from, disk, entryVersion = 1 }: Pick<Hello, 'from' | 'disk' | 'entryVersion'>,
  judge: Pick<Judge, 'membership' | 'acknowledged'>,
): Refusal | undefined {
  const membership = judge.membership();
  if (membership.removed?.includes(from) === true)
    return {
      reason: 'removed',
      message: `Member ${from} was removed from the cluster. A machine that shall come back is invited anew, and joins with an unused data directory.`,
    };
  const member = membership.members.find(({ id }) => id === from);
  const wanted = entryVersionOf(membership);
  if (entryVersion < wanted) return tooOld(member, { from, entryVersion }, wanted);
  const loss = disk && lossOf(disk, member, judge.acknowledged(from, disk.run));
  if (loss === undefined) return undefined;
  return { reason: 'lost-data', message: lossSentence(member, from, loss) };
}

function tooOld(
  member: Member | undefined,
  { from, entryVersion }: { readonly from: MemberId; readonly entryVersion: number },
  wanted: number,
): Refusal {
  const who = member === undefined || member.name === '' ? String(from) : member.name;
  const message = `Member ${who} knows entries up to version ${entryVersion}, and this cluster writes version ${wanted}: update Flotilla on that machine.`;
  return { reason: 'too-old', message };
}

/** Why the one we connected to does not want us; undefined: it does. */
export function readAnswer(greeting: Greeting): Refusal | undefined {
  // Said first by who refuses: its reason is in the content even when its version is not ours.
  const { reason, message } = recordOf(greeting.content);
  if (reason === undefined) return judgeVersion(greeting);
  if (typeof message !== 'string') throw new PeerProtocolError('a refusal without a message');
  // A reason this release does not know is still a refusal.
  return { reason: reasons.find((one) => one === reason) ?? 'version', message };
}

function judgeVersion({ newest, oldest }: Greeting): Refusal | undefined {
  if (newest >= oldestVersion && oldest <= newestVersion) return undefined;
  const message =
    newest < oldestVersion
      ? `The other side speaks the protocol up to version ${newest}, this one from version ${oldestVersion} on: update Flotilla on the other machine.`
      : `The other side speaks the protocol from version ${oldest} on, this one up to version ${newestVersion}: update Flotilla on this machine.`;
  return { reason: 'version', message };
}

function helloOf(content: unknown): Hello {
  const hello = recordOf(content);
  const { clusterId, from, to, lane, addresses, isAlwaysOn, disk, entryVersion } = hello;
  if (typeof clusterId !== 'string' || clusterId === '')
    throw new PeerProtocolError('a hello without a cluster');
  if (!isMemberId(from) || !isMemberId(to)) throw new PeerProtocolError('a hello without members');
  if (!lanes.includes(lane)) throw new PeerProtocolError('a hello for an unknown purpose');
  if (!Array.isArray(addresses) || !addresses.every((address) => typeof address === 'string'))
    throw new PeerProtocolError('a hello without addresses');
  if (typeof isAlwaysOn !== 'boolean') throw new PeerProtocolError('a hello of no kind of machine');
  const known = addresses.slice(0, addressesMax);
  if (entryVersion !== undefined && !isNumber(entryVersion))
    throw new PeerProtocolError('a hello of no version of entries');
  return {
    clusterId,
    from,
    to,
    lane: lane as Lane,
    addresses: known,
    isAlwaysOn,
    ...(disk === undefined ? {} : { disk: claimOf(disk) }),
    ...(entryVersion === undefined ? {} : { entryVersion }),
  };
}

function claimOf(value: unknown): DiskClaim {
  const { incarnation, run, term, lastIndex } = recordOf(value);
  if (typeof incarnation !== 'string' || typeof run !== 'string')
    throw new PeerProtocolError('a hello of no disk');
  if (!isNumber(term) || !isNumber(lastIndex))
    throw new PeerProtocolError('a hello of a disk that holds nothing countable');
  return { incarnation, run, term, lastIndex };
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isMemberId(value: unknown): value is MemberId {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null)
    throw new PeerProtocolError('a greeting that is no object');
  return value as Readonly<Record<string, unknown>>;
}

/** Collects a greeting; what follows it is left alone. */
export class GreetingReader {
  private held: Buffer = Buffer.alloc(0);

  /** Undefined: more is needed. Throws PeerProtocolError for anything that is not a greeting. */
  push(chunk: Buffer): { readonly greeting: Greeting; readonly rest: Buffer } | undefined {
    this.held = Buffer.concat([this.held, chunk]);
    const { held } = this;
    const start = Math.min(held.length, magic.length);
    if (!held.subarray(0, start).equals(magic.subarray(0, start)))
      throw new PeerProtocolError('not the protocol of control-plane members');
    if (held.length < headBytes) return undefined;
    const length = held.readUInt32LE(12);
    if (length > contentBytesMax) throw new PeerProtocolError(`a greeting of ${length} bytes`);
    const end = headBytes + length;
    if (held.length < end) return undefined;
    const content = parse(held.toString('utf8', headBytes, end));
    const greeting = { newest: held.readUInt16LE(8), oldest: held.readUInt16LE(10), content };
    return { greeting, rest: held.subarray(end) };
  }
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new PeerProtocolError('a greeting that is not JSON', { cause: error });
  }
}
