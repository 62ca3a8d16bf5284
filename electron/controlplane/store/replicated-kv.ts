// Kv over a state machine and consensus: what must be agreed on is proposed, what must not be stale
// asks consensus first, the rest is read from memory. Growth is refused here, before it is proposed,
// when the disk or the bound is full; what was committed is always applied.
// Invariant: an answer is only given from a state at least as new as when it was asked for.
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { MemberId } from '../raft/types.ts';
import { ProposalUnknownError, ReplicaUnavailableError } from '../replica/types.ts';
import { encodeCommand } from './command-codec.ts';
import type {
  ByteKey,
  Command,
  CommandResult,
  KeyRange,
  Kv,
  KvWatch,
  LeaseStatus,
  Operation,
  RangeOperation,
  RangeResult,
} from './commands.ts';
import type { Consensus } from './consensus.ts';
import { HashComparison } from './hash-comparison.ts';
import { LeaseExpiry } from './lease-expiry.ts';
import type { KvStateMachine } from './state-machine.ts';
import { NoSpaceError, OutcomeUnknownError, UnavailableError, type PutOptions } from './store.ts';
import { isReadOnly } from './transaction.ts';
import { failedWatch } from './watch-hub.ts';

export interface ReplicatedKvDeps {
  readonly state: KvStateMachine;
  readonly consensus: Consensus;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of one of several members: by it the states' hashes are compared. */
  readonly memberId?: MemberId;
}

/** An entry must fit into one segment of the log. */
const commandBytesMax = 7 * 1024 * 1024;
const drainMsMax = 1000;
const inDoubt = "this member's state differs from another's, and the others are asked who is right";
/** Of a write that leads to space being freed: many of them fit into what is kept for deletes. */
const freeingBytesMax = 32 * 1024;
/** What a row costs besides its key and value. */
const rowOverheadBytes = 200;

type OptimisticWrite = Extract<Command, { type: 'put-if' | 'delete-if' }>;

export class ReplicatedKv implements Kv {
  readonly #state: KvStateMachine;
  readonly #consensus: Consensus;
  readonly #clock: Clock;
  readonly #expiry: LeaseExpiry;
  readonly #comparison: HashComparison | undefined;
  /** Proposed and not answered, with the bytes by which they may grow the state. */
  readonly #inFlight = new Set<Promise<CommandResult>>();
  #inFlightBytes = 0;
  /** By key, optimistic writes in flight: the next one of that key may count on them. */
  readonly #writing = new Map<ByteKey, number>();
  #closed: UnavailableError | undefined;

  constructor(deps: ReplicatedKvDeps) {
    this.#clock = deps.clock;
    this.#state = deps.state;
    this.#consensus = deps.consensus;
    this.#expiry = new LeaseExpiry({
      ...deps,
      term: () => deps.consensus.leaderTerm(),
      revoke: (id, due) => this.#propose({ type: 'lease-revoke', id, due }, 0),
    });
    if (deps.memberId !== undefined)
      this.#comparison = new HashComparison({
        ...deps,
        memberId: deps.memberId,
        isLeader: () => deps.consensus.leaderTerm() !== undefined,
        propose: (command) => this.#proposeAnyway(command),
      });
    deps.state.onLease((id) => this.#expiry.kept(id));
    deps.consensus.onLeadership((isLeader) => this.#expiry.setLeader(isLeader));
  }

  async range(
    operation: RangeOperation,
    options: { readonly isSerializable?: boolean } = {},
  ): Promise<RangeResult & { readonly revision: number }> {
    // The past does not change: what is known here needs no question.
    const isPast = operation.revision > 0 && operation.revision <= this.#state.currentRevision;
    if (options.isSerializable === true || isPast) this.#assertOpen();
    else await this.confirm();
    return this.#state.range(operation);
  }

  /** Has the others compare their state with this one. Throws as `write` does. */
  async compareStates(): Promise<void> {
    await this.confirm();
    await this.#comparison?.claim();
  }

  /** Resolves when all that was committed before the call is applied here. */
  async confirm(): Promise<void> {
    this.#assertOpen();
    try {
      await this.#consensus.readIndex();
    } catch (error) {
      throw storeError(error);
    }
  }

  async write(command: Command, options: PutOptions = {}): Promise<CommandResult> {
    this.#assertOpen();
    switch (command.type) {
      case 'put-if':
      case 'delete-if':
        return this.#writeIf(command, options);
      case 'txn':
        if (!isReadOnly(command))
          return this.#propose(command, growthOf(command.success, command.failure));
        await this.confirm();
        return this.#state.read(command);
      case 'compact':
        return this.#compact(command.revision);
      case 'lease-grant':
        return this.#propose(command, rowOverheadBytes);
      case 'lease-revoke':
      case 'lease-keep':
      case 'hash-claim':
        return this.#propose(command, 0);
    }
  }

  /** What cannot succeed is not written into the log, once it is sure that it cannot. */
  async #writeIf(command: OptimisticWrite, options: PutOptions): Promise<CommandResult> {
    const { key } = command;
    if (!this.#writing.has(key) && !this.#mayHold(command)) {
      await this.confirm();
      if (!this.#writing.has(key) && !this.#mayHold(command)) {
        const row = this.#state.get(key);
        return { type: 'write', isOk: false, revision: this.#state.currentRevision, row };
      }
    }
    const growth = growthOfWrite(command, options);
    this.#writing.set(key, (this.#writing.get(key) ?? 0) + 1);
    try {
      return await this.#propose(command, growth);
    } finally {
      const left = (this.#writing.get(key) ?? 1) - 1;
      if (left === 0) this.#writing.delete(key);
      else this.#writing.set(key, left);
    }
  }

  #mayHold({ type, key, expectedRevision }: OptimisticWrite): boolean {
    const isNothing = type === 'delete-if' && expectedRevision === 0;
    return !isNothing && this.#state.modRevision(key) === expectedRevision;
  }

  /** Carries this member's hash, so that one with another state notices. */
  async #compact(revision: number): Promise<CommandResult> {
    const { currentRevision, compactedRevision } = this.#state;
    const isKnown = revision > compactedRevision && revision <= currentRevision;
    const hash = isKnown ? this.#state.hash(revision).hash : undefined;
    const result = await this.#propose(
      { type: 'compact', revision, ...(hash === undefined ? {} : { hash }) },
      0,
    );
    await this.#state.swept();
    return result;
  }

  async #propose(command: Command, growthBytes: number): Promise<CommandResult> {
    this.#assertOpen();
    if (growthBytes > 0) this.#assertRoom(growthBytes);
    return await this.#proposeAnyway(command, growthBytes);
  }

  async #proposeAnyway(command: Command, growthBytes = 0): Promise<CommandResult> {
    const data = encodeCommand(command);
    if (data.length > commandBytesMax)
      throw new RangeError(`a write of ${data.length} bytes: at most ${commandBytesMax} are taken`);
    const [version = 0] = data;
    if (version > this.#consensus.entryVersion())
      throw new UnavailableError(
        `this needs version ${version} of commands, which not every member knows: update Flotilla on all machines that keep the state`,
      );
    const proposal = this.#consensus.propose(data);
    this.#inFlight.add(proposal);
    this.#inFlightBytes += growthBytes;
    try {
      return await proposal;
    } catch (error) {
      throw storeError(error);
    } finally {
      this.#inFlight.delete(proposal);
      this.#inFlightBytes -= growthBytes;
    }
  }

  #assertRoom(bytes: number): void {
    if (this.#state.hasRoom(this.#inFlightBytes + bytes) && this.#consensus.hasRoom()) return;
    throw new NoSpaceError(
      'no space left for the database: nothing was written; free some space on its disk',
    );
  }

  watch(range: KeyRange, afterRevision: number): KvWatch {
    return this.#closed === undefined
      ? this.#state.watch(range, afterRevision)
      : failedWatch(this.#closed);
  }

  async keepLease(id: number): Promise<{ readonly ttlSeconds: number } | undefined> {
    await this.confirm();
    const lease = this.#state.lease(id);
    if (lease === undefined) return undefined;
    // Without the log only where nothing may be under way that ends it.
    if (this.#expiry.keepNow(id)) return { ttlSeconds: lease.ttlSeconds };
    const result = await this.#propose({ type: 'lease-keep', id }, 0);
    return result.type === 'done' ? { ttlSeconds: lease.ttlSeconds } : undefined;
  }

  async lease(id: number): Promise<LeaseStatus | undefined> {
    await this.confirm();
    const lease = this.#state.lease(id);
    if (lease === undefined) return undefined;
    const keys = Array.from(lease.keys).toSorted((a, b) => (a < b ? -1 : 1));
    const remainingSeconds = this.#expiry.remainingSeconds(id);
    return { id, ttlSeconds: lease.ttlSeconds, remainingSeconds, keys };
  }

  async leases(): Promise<readonly number[]> {
    await this.confirm();
    return this.#state.leases();
  }

  currentRevision(): number {
    return this.#state.currentRevision;
  }

  compactedRevision(): number {
    return this.#state.compactedRevision;
  }

  hash(revision: number): { readonly hash: number; readonly revision: number } {
    return this.#state.hash(revision);
  }

  size(): { readonly totalBytes: number; readonly usedBytes: number } {
    return this.#state.size();
  }

  /** Answers what is under way, then nothing. */
  async close(): Promise<void> {
    if (this.#closed !== undefined) return;
    this.#closed = new UnavailableError('the store is closed');
    this.#expiry.stop();
    this.#comparison?.stop();
    await this.#drain();
    await this.#consensus.stop();
    this.#state.close();
  }

  /** Without a majority what is under way does not end; its outcome is unknown then. */
  async #drain(): Promise<void> {
    const isDone = Promise.allSettled(this.#inFlight);
    let timer: Timer | undefined;
    const isLate = new Promise<void>((resolve) => {
      timer = this.#clock.timer(drainMsMax, resolve);
    });
    await Promise.race([isDone, isLate]);
    timer?.cancel();
  }

  #assertOpen(): void {
    const ended = this.#closed ?? this.#state.ended;
    if (ended !== undefined) throw ended;
    if (this.#comparison?.isInDoubt === true) throw new UnavailableError(inDoubt);
  }
}

function growthOfWrite(command: OptimisticWrite, { leadsToFreeing = false }: PutOptions): number {
  if (command.type === 'delete-if') return 0;
  const bytes = command.key.length + command.value.length + rowOverheadBytes;
  return leadsToFreeing && bytes <= freeingBytesMax ? 0 : bytes;
}

/** By how much a transaction may grow the state: its larger branch. */
function growthOf(success: readonly Operation[], failure: readonly Operation[]): number {
  return Math.max(...[success, failure].map((branch) => sum(branch.map(growthOfOne))));
}

function growthOfOne(operation: Operation): number {
  if (operation.type === 'txn') return growthOf(operation.success, operation.failure);
  if (operation.type !== 'put') return 0;
  return operation.key.length + operation.value.length + rowOverheadBytes;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function storeError(error: unknown): unknown {
  if (error instanceof ReplicaUnavailableError)
    return new UnavailableError(error.message, { cause: error });
  if (error instanceof ProposalUnknownError)
    return new OutcomeUnknownError(error.message, { cause: error });
  return error;
}
