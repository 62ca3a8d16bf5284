// A simulated member's state: the real state machine over rows in memory that forget what a crash
// would, with everything that is applied shown to whoever watches the simulation.
import { crc32 } from 'node:zlib';
import { silentLogger } from '#kube/base/logger.ts';
import type { MemberId } from '../../../electron/controlplane/raft/types.ts';
import type {
  AppliedCommand,
  AppliedMark,
  ReceivedSnapshot,
  SnapshotSource,
  StateMachine,
} from '../../../electron/controlplane/replica/types.ts';
import type { CommandResult } from '../../../electron/controlplane/store/commands.ts';
import { MemoryRows } from '../../../electron/controlplane/store/memory-rows.ts';
import { KvStateMachine } from '../../../electron/controlplane/store/state-machine.ts';
import type { WatchLimits } from '../../../electron/controlplane/store/watch-hub.ts';
import type { SimState } from '../replica-group.ts';
import type { Host, Process, World } from './world.ts';

export interface StateObserver {
  /** `state`: checksum of the whole state. */
  onApplied(
    id: MemberId,
    commands: readonly AppliedCommand[],
    results: readonly CommandResult[],
    mark: AppliedMark,
    state: number,
  ): void;
  onInstalled(id: MemberId, mark: AppliedMark, state: number): void;
}

export interface MemberStateDeps {
  readonly host: Host;
  readonly observer: StateObserver;
  readonly watchLimits: WatchLimits;
  readonly syncMsMax: number;
  /** The newest version of commands that the member's release knows. */
  readonly entryVersion: number;
}

export class MemberState implements SimState<ObservedMachine> {
  /** Nothing more fits on its disk. */
  isFull = false;
  /** The next sync fails. */
  isSyncFailing = false;
  /** From its next start on. */
  entryVersion: number;
  readonly #id: MemberId;
  readonly #world: World;
  readonly #observer: StateObserver;
  readonly #watchLimits: WatchLimits;
  #rows: MemoryRows;

  constructor(id: MemberId, world: World, deps: MemberStateDeps) {
    this.#id = id;
    this.#world = world;
    this.#observer = deps.observer;
    this.#watchLimits = deps.watchLimits;
    this.entryVersion = deps.entryVersion;
    this.#rows = new MemoryRows({
      schedule: (work) => {
        deps.host.clock.timer(world.integer(1, deps.syncMsMax), work);
      },
      isFull: () => {
        if (this.isFull) world.count('state disk full');
        return this.isFull;
      },
      syncError: () => this.#takeFailure(),
    });
  }

  #takeFailure(): Error | undefined {
    if (!this.isSyncFailing) return undefined;
    this.isSyncFailing = false;
    this.#world.count('failed state sync');
    return new Error('EIO: the sync failed, as it was told to');
  }

  open({ clock, schedule }: Process, onFatal: (error: Error) => void): ObservedMachine {
    const machine = new KvStateMachine({
      storage: this.#rows,
      clock,
      schedule,
      logger: silentLogger,
      onFatal: (error) => onFatal(error instanceof Error ? error : new Error(String(error))),
      watchLimits: this.#watchLimits,
      knownVersion: this.entryVersion,
    });
    return new ObservedMachine(this.#id, machine, this.#observer, this.entryVersion);
  }

  crash(): void {
    const { unsyncedChanges } = this.#rows;
    const kept = this.#world.integer(0, unsyncedChanges);
    if (kept < unsyncedChanges) this.#world.count('crash that lost unsynced state');
    this.#rows = this.#rows.crash(kept);
  }

  kill(): void {
    this.#rows = this.#rows.crash(this.#rows.unsyncedChanges);
  }
}

export class ObservedMachine implements StateMachine<CommandResult> {
  readonly kv: KvStateMachine;
  readonly entryVersion: number;
  readonly #id: MemberId;
  readonly #observer: StateObserver;

  constructor(id: MemberId, kv: KvStateMachine, observer: StateObserver, entryVersion: number) {
    this.entryVersion = entryVersion;
    this.#id = id;
    this.kv = kv;
    this.#observer = observer;
  }

  applied(): AppliedMark {
    return this.kv.applied();
  }

  get installedIndex(): number | undefined {
    return this.kv.installedIndex;
  }

  apply(commands: readonly AppliedCommand[], mark: AppliedMark): readonly CommandResult[] {
    const results = this.kv.apply(commands, mark);
    if (this.kv.ended === undefined)
      this.#observer.onApplied(this.#id, commands, results, mark, stateChecksum(this.kv));
    return results;
  }

  durableIndex(): number {
    return this.kv.durableIndex();
  }

  flush(): void {
    this.kv.flush();
  }

  snapshot(): Promise<SnapshotSource> {
    return this.kv.snapshot();
  }

  receive(mark: AppliedMark, chunks: AsyncIterable<Uint8Array>): Promise<ReceivedSnapshot> {
    return this.kv.receive(mark, chunks);
  }

  install(received: ReceivedSnapshot, done: (error?: Error) => void): void {
    this.kv.install(received, (error) => {
      if (error === undefined)
        this.#observer.onInstalled(this.#id, received.mark, stateChecksum(this.kv));
      done(error);
    });
  }

  close(): void {
    this.kv.close();
  }
}

/** Of history, what is compacted, and the leases. */
export function stateChecksum(kv: KvStateMachine): number {
  const { hash } = kv.hash(0);
  const leases = kv
    .leases()
    .map((id) => `${id}:${kv.lease(id)?.ttlSeconds}:${kv.lease(id)?.keptAt}`);
  return crc32(`${kv.compactedRevision} ${leases.join(' ')}`, hash);
}
