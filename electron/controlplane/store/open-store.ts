// The store of a control-plane member: SQLite rows and the log in one directory, joined by a replica.
// Alone by default, with nothing on the network; with a transport, one of a group.
// Must be opened by one process at a time: see lockDataDirectory.
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Failpoint } from '#platform/failpoints.ts';
import { uuid, type Random } from '#kube/base/random.ts';
import { entryVersionOf, type DiskClaim } from '../replica/announcements.ts';
import { BootstrapError, type StartWish } from '../replica/bootstrap.ts';
import { openDisk } from '../replica/disk.ts';
import { LogCorruptError, LogFullError, LogRefusedError } from '../replica/log-errors.ts';
import { openLog } from '../replica/log-storage.ts';
import { beginMember, type BegunMember } from '../replica/member-file.ts';
import type { StateRecovery, RecoverableState } from '../replica/recovery-run.ts';
import { Replica, type ReplicaDeps } from '../replica/replica.ts';
import type { PeerTransport } from '../replica/types.ts';
import type { MemberId } from '../raft/types.ts';
import { beginAnew } from './backup.ts';
import { commandVersion } from './command-codec.ts';
import type { CommandResult } from './commands.ts';
import type { Consensus } from './consensus.ts';
import { KvStore } from './kv-store.ts';
import { ReplicatedKv } from './replicated-kv.ts';
import { SqliteRows } from './sqlite-rows.ts';
import { openForWriting, stateFileIn, StoreOpenError } from './state-file.ts';
import { KvStateMachine } from './state-machine.ts';
import type { Store } from './store.ts';
import type { WatchLimits } from './watch-hub.ts';

export interface ReplicatedStoreOptions {
  /** Holds state.db, member.json and the log's folder; made when it does not exist. */
  readonly directory: string;
  /** By this member's key. */
  readonly memberId: MemberId;
  readonly wish: StartWish;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The disk failed, or the state is not the others': end the process. */
  readonly onFatal: (error: unknown) => void;
  /** The way to other members, made once it is known of which cluster; none by default. */
  readonly transport?: (self: MemberSelf) => Promise<PeerTransport>;
  readonly replica?: Pick<
    ReplicaDeps<unknown>,
    'knownMembers' | 'timing' | 'logLimits' | 'protocolLimits'
  >;
  /** A cluster was here before: an absent or empty state without a log is an error. */
  readonly mustExist?: boolean;
  /** Puts that would grow the database beyond this are refused; no bound by default. */
  readonly sizeBytesMax?: number;
  /** Larger databases are checked to the last byte after the start, in the background. */
  readonly checkedBytesMax?: number;
  readonly watchLimits?: WatchLimits;
  /** Size of the log's files; see replica/README.md. */
  readonly segmentBytes?: number;
  /** Where tests kill the process. */
  readonly failpoint?: Failpoint;
  readonly threadProgram?: string;
}

/** What a member says to others of itself. */
export interface MemberSelf {
  readonly clusterId: string;
  readonly disk: DiskClaim;
  readonly entryVersion: number;
}

export interface ReplicatedStore {
  /** Closing it stops the replica, which hands leadership over first. */
  readonly store: Store;
  readonly kv: ReplicatedKv;
  /** For backups: `snapshot`. */
  readonly state: KvStateMachine;
  readonly replica: Replica<CommandResult>;
  readonly clusterId: string;
}

export const logFolder = 'log';

/** Throws StoreOpenError, whose message is a sentence for a person. */
export async function openReplicatedStore(
  options: ReplicatedStoreOptions,
): Promise<ReplicatedStore> {
  const { directory, memberId, wish, clock, random, logger, transport } = options;
  const startedMs = clock.monotonicMs();
  const state = openState(options);
  let begun: BegunMember | undefined;
  let peers: PeerTransport | undefined;
  try {
    begun = await beginMember({
      file: path.join(directory, 'member.json'),
      memberId,
      wish,
      newClusterId: uuid(random),
      newIncarnation: uuid(random),
      entryVersion: commandVersion,
      hasLog: () => hasLog(directory),
      openLog: (record) => openLog({ ...logDeps(options), clusterId: record.clusterId, memberId }),
      state: { applied: state.applied(), installedIndex: state.installedIndex },
      failpoint: options.failpoint,
    });
    state.adopt(begun.record.clusterId);
    peers = await transport?.(selfOf(begun, random));
  } catch (error) {
    begun?.log.close();
    state.close();
    throw asOpenError(error, directory);
  }
  const { record, log, start } = begun;
  const replica = new Replica<CommandResult>({
    ...options.replica,
    id: memberId,
    start,
    log,
    stateMachine: state,
    transport: peers ?? noPeers,
    announcement: { incarnation: record.incarnation, entryVersion: commandVersion },
    clock,
    random,
    schedule,
    logger,
    onFatal: options.onFatal,
  });
  const consensus = consensusOf(replica);
  const kv = new ReplicatedKv({ state, consensus, clock, logger, memberId });
  compareOnceLed(replica, kv, logger);
  replica.start();
  // Whoever is alone leads as soon as its vote for itself is on disk.
  if (isOnlyVoter(replica, memberId)) await replica.readIndex();
  const tookMs = Math.round(clock.monotonicMs() - startedMs);
  logger.info('Opened the store', { directory, revision: state.currentRevision, tookMs });
  return { store: new KvStore(kv), kv, state, replica, clusterId: record.clusterId };
}

function selfOf({ record, start }: BegunMember, random: Random): MemberSelf {
  const { clusterId, incarnation } = record;
  const { term } = start.hardState;
  const lastIndex = start.entries.at(-1)?.index ?? start.snapshot.index;
  const disk = { incarnation, run: uuid(random), term, lastIndex };
  return { clusterId, disk, entryVersion: commandVersion };
}

function isOnlyVoter({ standing }: Replica<CommandResult>, id: MemberId): boolean {
  const voters = standing.membership.members.filter(({ role }) => role === 'voter');
  return voters.length === 1 && voters[0]?.id === id;
}

/** After each start, as soon as there is a leader: whether this state is the others'. */
function compareOnceLed(replica: Replica<CommandResult>, kv: ReplicatedKv, logger: Logger): void {
  const stop = replica.onChange(({ leader, membership }) => {
    if (leader === 0 || membership.members.length === 1) return;
    stop();
    kv.compareStates().catch((error: unknown) => {
      // It is compared at the next compaction.
      logger.warn('Could not compare the state with the others', { error });
    });
  });
}

/** Behind the I/O events that are ready now: what they ask for joins the group. */
function schedule(work: () => void): void {
  setImmediate(work);
}

function openState(options: ReplicatedStoreOptions): KvStateMachine {
  const { directory, mustExist = false } = options;
  // With a log, what is missing of the state is told apart by where the log begins.
  const isRequired = mustExist && !hasLog(directory);
  const storage = new SqliteRows({ ...options, mustExist: isRequired });
  try {
    return new KvStateMachine({ ...options, storage, schedule });
  } catch (error) {
    storage.close();
    throw error;
  }
}

function hasLog(directory: string): boolean {
  const folder = path.join(directory, logFolder);
  return existsSync(folder) && readdirSync(folder).length > 0;
}

function logDeps(options: ReplicatedStoreOptions) {
  const { directory, clock, random, logger, segmentBytes, failpoint } = options;
  const disk = openDisk(path.join(directory, logFolder));
  const bound = segmentBytes === undefined ? {} : { segmentBytes };
  return { disk, clock, random, logger, schedule, failpoint, ...bound };
}

function asOpenError(error: unknown, directory: string): unknown {
  if (error instanceof LogFullError)
    return new StoreOpenError(
      directory,
      `The disk that holds ${directory} is full: free some space, then start again.`,
      error,
    );
  const isSentence =
    error instanceof BootstrapError ||
    error instanceof LogCorruptError ||
    error instanceof LogRefusedError;
  return isSentence
    ? new StoreOpenError(directory, `${directory}: ${error.message}`, error)
    : error;
}

function consensusOf(replica: Replica<CommandResult>): Consensus {
  return {
    propose: (data) => replica.propose(data),
    readIndex: () => replica.readIndex(),
    leaderTerm: () => (replica.standing.role === 'leader' ? replica.standing.term : undefined),
    onLeadership(listener) {
      listener(replica.standing.role === 'leader');
      replica.onChange(({ role }) => listener(role === 'leader'));
    },
    entryVersion: () => entryVersionOf(replica.standing.membership),
    hasRoom: () => replica.hasRoom(),
    stop: () => replica.stop({ transfer: true }),
  };
}

/** Of a member that is alone. */
const noPeers: PeerTransport = {
  start() {},
  send() {},
  sendSnapshot: () => Promise.reject(new Error('this member knows no others')),
  setMembership() {},
  announced: () => undefined,
  close() {},
};

/** The state in a stopped member's folder, for a recovery. Undefined: there is none. */
export async function openRecoverableState(
  options: Pick<ReplicatedStoreOptions, 'directory' | 'clock' | 'random' | 'logger'>,
): Promise<RecoverableState | undefined> {
  const { directory } = options;
  const file = stateFileIn(directory);
  if (!existsSync(file)) return undefined;
  const state = new KvStateMachine({
    ...options,
    storage: new SqliteRows(options),
    schedule,
  });
  return {
    applied: () => state.applied(),
    apply: (commands, mark) => state.apply(commands, mark),
    async recover(change: StateRecovery) {
      state.close();
      const database = openForWriting(file);
      try {
        beginAnew(database, { ...change, nowMs: options.clock.now(), random: options.random });
      } finally {
        database.close();
      }
    },
    close: () => state.close(),
  };
}
