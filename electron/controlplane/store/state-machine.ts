// The replicated state as the driver sees it (StateMachine), and as reads see it. Applies commands
// to memory (mvcc.ts), tells the watchers, and hands the tail to storage in whole transactions,
// lazily: the log holds everything until then. Rows are never in storage before they are committed.
// Invariant: storage always holds the state of exactly one applied index.
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import {
  CannotGoOnError,
  type AppliedCommand,
  type AppliedMark,
  type ReceivedSnapshot,
  type SnapshotSource,
  type StateMachine,
} from '../replica/types.ts';
import { decodeCommand, isNewerCommand } from './command-codec.ts';
import type {
  CommandResult,
  KeyRange,
  KvWatch,
  RangeOperation,
  RangeResult,
  Row,
  Txn,
} from './commands.ts';
import { HashClaims, type HashClaim } from './hash-claims.ts';
import { DamagedRowError, Mvcc } from './mvcc.ts';
import type { RowStorage } from './rows.ts';
import { CompactedError, FutureRevisionError, NoSpaceError, UnavailableError } from './store.ts';
import { failedWatch, WatchHub, type WatchLimits } from './watch-hub.ts';

export interface StateMachineDeps {
  readonly storage: RowStorage;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Runs `work` when the events that wait were handled. */
  readonly schedule: (work: () => void) => void;
  /** Storage failed, or the state is not the others': nothing is answered any more. */
  readonly onFatal?: (error: unknown) => void;
  readonly watchLimits?: WatchLimits;
  /** The newest version of commands it applies; an older release's in the simulation. */
  readonly knownVersion?: number;
}

/** The tail goes to storage when it is this large: a transaction of some milliseconds. */
const tailRowsMax = 200;
const tailBytesMax = 1024 * 1024;
/** While storage syncs, the tail waits up to here, so that the sync can come to its end. */
const tailWaitingBytesMax = 16 * 1024 * 1024;
/** Storage is synced unasked after this much. */
const unsyncedBytesMax = 8 * 1024 * 1024;
const compactionSlice = 100;
const fullRetryMs = 5000;

/** A lease began, or began anew. */
export type LeaseListener = (id: number) => void;

/** This state differs from another member's; undefined: most others have the same as this one. */
export type DoubtListener = (
  doubted: { readonly revision: number; readonly hash: number } | undefined,
) => void;

export class KvStateMachine implements StateMachine<CommandResult> {
  readonly #deps: StateMachineDeps;
  readonly #hub: WatchHub;
  #mvcc: Mvcc;
  #clusterId: string;
  #ancestors: readonly string[];
  #applied: AppliedMark;
  #installedIndex: number | undefined;
  /** What storage was handed, and what survives the machine. */
  #writtenIndex: number;
  #durableIndex: number;
  #isWriteScheduled = false;
  #isSyncing = false;
  #isSyncWanted = false;
  #isInstalling = false;
  /** Set while storage refuses to grow: growth is refused until it takes the tail. */
  #retry: Timer | undefined;
  #isSweeping = false;
  #sweepWaiters: (() => void)[] = [];
  #onLease: LeaseListener = () => undefined;
  #claims = new HashClaims();
  /** Alone with its doubt, a state is wrong. */
  #onDoubt: DoubtListener = (doubted) => {
    if (doubted !== undefined) this.condemn(doubted.revision);
  };
  /** Why this state may never be served again. */
  #damage: string | undefined;
  #ended: UnavailableError | undefined;

  /** Throws what storage throws when it can't be read. */
  constructor(deps: StateMachineDeps) {
    this.#deps = deps;
    const { mvcc, meta } = Mvcc.load(deps.storage);
    this.#mvcc = mvcc;
    this.#clusterId = meta.clusterId;
    this.#ancestors = meta.ancestors ?? [];
    this.#applied = meta.applied;
    this.#installedIndex = meta.installedIndex;
    this.#writtenIndex = meta.applied.index;
    this.#durableIndex = meta.applied.index;
    const history = {
      currentRevision: () => this.#mvcc.index.currentRevision,
      compactedRevision: () => this.#mvcc.index.compactedRevision,
      visitAfter: (...range: Parameters<Mvcc['index']['visitAfter']>) =>
        this.#mvcc.index.visitAfter(...range),
      event: (version: Parameters<Mvcc['event']>[0]) =>
        this.#guarded(() => this.#mvcc.event(version)),
    };
    this.#hub = new WatchHub(history, deps.watchLimits);
    deps.storage.check((sentence) => {
      if (this.#ended === undefined) this.#fail(new DamagedRowError(sentence));
    });
    // A compaction that a crash cut short goes on.
    if (mvcc.index.compactedRevision > 0) this.#startSweep();
  }

  /** Empty until `adopt`. */
  get clusterId(): string {
    return this.#clusterId;
  }

  /** The cluster's id, and those of the clusters it was restored or recovered from. */
  get lineage(): readonly string[] {
    return [this.#clusterId, ...this.#ancestors];
  }

  /** Whose state this is from now on; written with the next change. */
  adopt(clusterId: string): void {
    this.#clusterId = clusterId;
  }

  applied(): AppliedMark {
    return this.#applied;
  }

  get installedIndex(): number | undefined {
    return this.#installedIndex === this.#applied.index ? this.#installedIndex : undefined;
  }

  apply(commands: readonly AppliedCommand[], mark: AppliedMark): readonly CommandResult[] {
    return this.#guarded(() => {
      const results = commands.map((command) => this.#applyOne(command, mark));
      this.#applied = mark;
      this.#hub.publish(this.#mvcc.takeWritten());
      this.#look();
      return results;
    });
  }

  #applyOne(applied: AppliedCommand, mark: AppliedMark): CommandResult {
    const { index, data } = applied;
    if (isNewerCommand(data, this.#deps.knownVersion))
      throw new CannotGoOnError(
        `Entry ${index} of the log was written by a newer release of Flotilla: update this machine. ` +
          'Nothing is lost, and it goes on from there.',
      );
    const command = decodeCommand(data);
    const result = this.#mvcc.apply(command, applied);
    if (result.type !== 'done' || command === undefined) return result;
    if (command.type === 'compact') this.#startSweep();
    if (command.type === 'compact' && command.hash !== undefined)
      this.#compare({ ...command, hash: command.hash, member: undefined }, mark);
    if (command.type === 'hash-claim') this.#compare(command, mark);
    if (command.type === 'lease-grant' || command.type === 'lease-keep') this.#onLease(command.id);
    return result;
  }

  #compare(claim: HashClaim, { membership }: AppliedMark): void {
    const { revision } = claim;
    const { currentRevision, compactedRevision } = this.#mvcc.index;
    // History that is gone can't be compared any more.
    if (revision < compactedRevision) return;
    // A state that has not come as far differs, too.
    const hash = revision > currentRevision ? -1 : this.#mvcc.hashAt(revision);
    const verdict = this.#claims.add(claim, hash, membership);
    if (verdict === 'wrong') this.#damage = this.#differs(revision);
    else if (verdict === 'doubt') this.#onDoubt({ revision, hash: Math.max(0, hash) });
    else if (verdict === 'right') this.#onDoubt(undefined);
  }

  #differs(revision: number): string {
    return (
      `The state in ${this.#deps.storage.place} differs from that of the other members at revision ` +
      `${revision}, and is not served any more: take this member out of the cluster, and let it ` +
      'join again with an empty data directory.'
    );
  }

  /** Nobody takes this state's side. */
  condemn(revision: number): void {
    if (this.#ended !== undefined) return;
    this.#damage = this.#differs(revision);
    this.#look();
  }

  /** One listener. */
  onDoubt(listener: DoubtListener): void {
    this.#onDoubt = listener;
  }

  /** After a change: whether something is due. */
  #look(): void {
    const { tail } = this.#mvcc;
    if (this.#damage !== undefined) return this.#stopDamaged(this.#damage);
    const isLarge = tail.rowCount >= tailRowsMax || tail.sizeBytes >= tailBytesMax;
    if (!isLarge || this.#isWriteScheduled) return;
    if (this.#isSyncing && tail.sizeBytes < tailWaitingBytesMax) return;
    this.#isWriteScheduled = true;
    this.#deps.schedule(() => {
      this.#isWriteScheduled = false;
      if (this.#ended === undefined && this.#retry === undefined) this.#write();
    });
  }

  /** Remembers it, so that the next start refuses too. */
  #stopDamaged(sentence: string): void {
    this.#write();
    this.#fail(new CannotGoOnError(sentence));
  }

  durableIndex(): number {
    return this.#durableIndex;
  }

  flush(): void {
    if (this.#ended !== undefined || this.#isInstalling) return;
    this.#isSyncWanted = true;
    if (!this.#isSyncing && this.#write()) this.#sync();
  }

  /** False when storage has no room. */
  #write(): boolean {
    const { storage, clock } = this.#deps;
    const { tail } = this.#mvcc;
    if (this.#isInstalling) return false;
    const isNew = this.#applied.index > this.#writtenIndex || tail.removedCount > 0;
    if (!isNew) return true;
    const { installedIndex } = this;
    const meta = this.#mvcc.meta({
      applied: this.#applied,
      clusterId: this.#clusterId,
      ...(this.#ancestors.length === 0 ? {} : { ancestors: this.#ancestors }),
      ...(installedIndex === undefined ? {} : { installedIndex }),
      ...(this.#damage === undefined ? {} : { damage: this.#damage }),
    });
    try {
      storage.write({ ...tail.content(), meta });
    } catch (error) {
      if (!(error instanceof NoSpaceError)) {
        this.#fail(error);
        return false;
      }
      if (this.#retry === undefined)
        this.#deps.logger.error('The state does not fit on its disk; only deletes are accepted', {
          error,
        });
      this.#retry = clock.timer(fullRetryMs, () => this.#writeAgain());
      return false;
    }
    tail.clear();
    this.#writtenIndex = this.#applied.index;
    if (this.#retry !== undefined) this.#deps.logger.info('The state fits on its disk again');
    this.#retry?.cancel();
    this.#retry = undefined;
    if (storage.unsyncedBytes() >= unsyncedBytesMax) this.#isSyncWanted = true;
    if (this.#isSyncWanted) this.#sync();
    return true;
  }

  #writeAgain(): void {
    if (this.#ended === undefined && this.#write()) this.#startSweep();
  }

  #sync(): void {
    if (this.#isSyncing || this.#isInstalling || this.#ended !== undefined) return;
    this.#isSyncing = true;
    this.#isSyncWanted = false;
    const index = this.#writtenIndex;
    this.#deps.storage.sync((error) => {
      this.#isSyncing = false;
      if (this.#ended !== undefined) return;
      if (error !== undefined) return void this.#fail(error);
      this.#durableIndex = Math.max(this.#durableIndex, index);
      if (this.#isSyncWanted) this.flush();
      else this.#look();
      this.#sweep();
    });
  }

  /** Removes what was compacted, a slice at a time, with the event loop free in between. */
  #startSweep(): void {
    if (this.#isSweeping) return;
    this.#isSweeping = true;
    this.#deps.schedule(() => this.#sweep());
  }

  #sweep(): void {
    // A sync goes first, and calls again.
    if (!this.#isSweeping || this.#isSyncing || this.#ended !== undefined) return;
    const { tail } = this.#mvcc;
    const { isLast } = this.#mvcc.dropGarbage(compactionSlice);
    if (tail.removedCount >= compactionSlice && !this.#write()) return this.#endSweep();
    if (isLast) return this.#endSweep();
    if (!this.#isSyncing) this.#deps.schedule(() => this.#sweep());
  }

  #endSweep(): void {
    this.#isSweeping = false;
    for (const done of this.#sweepWaiters.splice(0)) done();
  }

  /** Resolves when nothing is left to remove of what was compacted, or the disk is too full to. */
  swept(): Promise<void> {
    if (!this.#isSweeping) return Promise.resolve();
    return new Promise((resolve) => this.#sweepWaiters.push(resolve));
  }

  async snapshot(): Promise<SnapshotSource> {
    if (this.#ended !== undefined) throw this.#ended;
    if (!this.#write()) throw this.#ended ?? new NoSpaceError('no space left for the state');
    return this.#deps.storage.copy();
  }

  receive(mark: AppliedMark, chunks: AsyncIterable<Uint8Array>): Promise<ReceivedSnapshot> {
    return this.#deps.storage.receive(mark, chunks);
  }

  install(received: ReceivedSnapshot, done: (error?: Error) => void): void {
    this.#isInstalling = true;
    this.#deps.storage.install(received, (error) => {
      this.#isInstalling = false;
      if (error !== undefined) {
        this.#fail(error);
        return done(error);
      }
      const { mvcc, meta } = Mvcc.load(this.#deps.storage);
      this.#mvcc = mvcc;
      this.#clusterId = meta.clusterId;
      this.#ancestors = meta.ancestors ?? [];
      this.#applied = meta.applied;
      this.#installedIndex = meta.installedIndex;
      this.#writtenIndex = meta.applied.index;
      this.#durableIndex = meta.applied.index;
      this.#retry?.cancel();
      this.#retry = undefined;
      this.#hub.reset();
      this.#startSweep();
      done();
    });
  }

  /** Writes what is left, but for on a disk that is full: the log has it. Watches end. */
  close(): void {
    if (this.#ended !== undefined) return;
    if (this.#deps.storage.hasRoom(this.#mvcc.tail.sizeBytes)) this.#write();
    this.#end(new UnavailableError('the store is closed'));
    this.#deps.storage.close();
  }

  /** Why nothing is answered any more; undefined while it is. */
  get ended(): UnavailableError | undefined {
    return this.#ended;
  }

  get currentRevision(): number {
    return this.#mvcc.index.currentRevision;
  }

  get compactedRevision(): number {
    return this.#mvcc.index.compactedRevision;
  }

  /** The revision of the key's last write; 0: there is no such key. */
  modRevision(key: string): number {
    return this.#mvcc.index.find(key)?.revision ?? 0;
  }

  /** Of what is applied. Throws CompactedError, FutureRevisionError. */
  range(operation: RangeOperation): RangeResult & { readonly revision: number } {
    const revision = this.#readable(operation.revision);
    return { ...this.#guarded(() => this.#mvcc.range(operation)), revision };
  }

  /** One key, now. */
  get(key: string): Row | undefined {
    const version = this.#mvcc.index.find(key);
    return version && this.#guarded(() => this.#mvcc.row(version));
  }

  /** A transaction that writes nothing. */
  read(txn: Txn): CommandResult {
    return this.#guarded(() => this.#mvcc.apply({ type: 'txn', ...txn }));
  }

  watch(range: KeyRange, afterRevision: number): KvWatch {
    return this.#ended === undefined
      ? this.#hub.open(range, afterRevision)
      : failedWatch(this.#ended);
  }

  /** 0: now. Throws as `range` does. */
  hash(revision: number): { readonly hash: number; readonly revision: number } {
    const at = this.#readable(revision);
    return { hash: this.#guarded(() => this.#mvcc.hashAt(at)), revision: at };
  }

  lease(id: number): ReturnType<Mvcc['leases']['get']> {
    return this.#mvcc.leases.get(id);
  }

  leases(): readonly number[] {
    return this.#mvcc.leases.ids;
  }

  /** One listener. */
  onLease(listener: LeaseListener): void {
    this.#onLease = listener;
  }

  size(): { readonly totalBytes: number; readonly usedBytes: number } {
    const { totalBytes, usedBytes } = this.#deps.storage.size();
    const { sizeBytes } = this.#mvcc.tail;
    return { totalBytes, usedBytes: usedBytes + sizeBytes };
  }

  /** Whether `bytes` more may be proposed. */
  hasRoom(bytes: number): boolean {
    const waiting = this.#mvcc.tail.sizeBytes;
    return this.#retry === undefined && this.#deps.storage.hasRoom(waiting + bytes);
  }

  #readable(asked: number): number {
    if (this.#ended !== undefined) throw this.#ended;
    const { currentRevision, compactedRevision } = this.#mvcc.index;
    if (asked === 0) return currentRevision;
    if (asked > currentRevision) throw new FutureRevisionError(asked, currentRevision);
    if (asked < compactedRevision) throw new CompactedError(asked, compactedRevision);
    return asked;
  }

  #guarded<T>(work: () => T): T {
    if (this.#ended !== undefined) throw this.#ended;
    try {
      return work();
    } catch (error) {
      throw this.#fail(error);
    }
  }

  /** After a failed write or sync nobody knows what the disk holds: stop, never try again. */
  #fail(cause: unknown): UnavailableError {
    if (this.#ended !== undefined) return this.#ended;
    const ended = new UnavailableError('the storage failed', { cause });
    this.#end(ended);
    this.#deps.logger.error('Storage failed, the store stops', { error: cause });
    this.#deps.onFatal?.(cause);
    return ended;
  }

  #end(reason: UnavailableError): void {
    this.#ended = reason;
    this.#retry?.cancel();
    this.#hub.failAll(reason);
    this.#endSweep();
  }
}
