// The state as a few maps: what the log's commands mean, said a second time and as plainly as can be.
// The first member that applies an entry has its result compared with this; what follows is the truth
// that client histories and watches are held against.
import { decodeCommand } from '../../../electron/controlplane/store/command-codec.ts';
import type { AppliedCommand } from '../../../electron/controlplane/replica/types.ts';
import type {
  Command,
  CommandResult,
  Compare,
  Operation,
} from '../../../electron/controlplane/store/commands.ts';
import { Truth } from './history.ts';
import type { World } from './world.ts';

interface Lease {
  readonly ttlMs: number;
  /** The entry that granted or kept it last. */
  keptAt: number;
  /** Its time began (anew) then, or later: somebody was told so. */
  keptMs: number;
  endedMs: number;
}

export class Model {
  readonly truth = new Truth();
  readonly #leases = new Map<number, Lease>();
  readonly #keyLeases = new Map<string, number>();
  readonly #report: (sentence: string) => void;
  readonly #world: Pick<World, 'nowMs' | 'count'>;
  /** Of the entry that is applied. */
  #index = 0;
  #term = 0;
  #compacted = 0;

  /** `report`: a result is not what it should be, or a lease was ended too early. */
  constructor(report: (sentence: string) => void, world: Pick<World, 'nowMs' | 'count'>) {
    this.#report = report;
    this.#world = world;
  }

  get revision(): number {
    return this.truth.revisions.length;
  }

  /** An entry of the log, applied somewhere; only the first time counts. */
  applied({ index, term, data }: AppliedCommand, result: CommandResult | undefined): void {
    if (index <= this.#index) return;
    this.#index = index;
    this.#term = term;
    const command = decodeCommand(data);
    if (command === undefined) return this.#report(`entry ${index} can't be read`);
    const isOk = this.#apply(command);
    const told = result?.type === 'failed' ? false : wasOk(result);
    if (told !== isOk || result?.revision !== this.revision)
      this.#report(
        `entry ${index} (${command.type}): ${told} at ${result?.revision}, not ${isOk} at ${this.revision}`,
      );
  }

  #apply(command: Command): boolean {
    switch (command.type) {
      case 'put-if':
      case 'delete-if': {
        const { key, expectedRevision } = command;
        const present = this.#modRevision(key);
        const isDelete = command.type === 'delete-if';
        if (present !== expectedRevision || (isDelete && present === 0)) return false;
        this.#write(this.revision + 1, key, isDelete ? undefined : text(command.value), 0);
        return true;
      }
      case 'txn': {
        const isSuccess = command.compares.every((compare) => this.#holds(compare));
        return this.#perform(isSuccess ? command.success : command.failure) && isSuccess;
      }
      case 'compact': {
        const isNews = command.revision > this.#compacted && command.revision <= this.revision;
        if (isNews) this.#compacted = command.revision;
        if (isNews) this.#world.count('history compacted');
        return isNews;
      }
      case 'lease-grant': {
        const isNew = !this.hasLease(command.id);
        const ttlMs = command.ttlSeconds * 1000;
        const lease = { ttlMs, keptAt: this.#index, keptMs: -Infinity, endedMs: Infinity };
        if (isNew) this.#leases.set(command.id, lease);
        return isNew;
      }
      case 'lease-keep': {
        const lease = this.#leases.get(command.id);
        if (lease?.endedMs === Infinity) lease.keptAt = this.#index;
        this.#world.count('lease kept');
        return lease?.endedMs === Infinity;
      }
      case 'lease-revoke':
        return this.#isDue(command) && this.#revoke(command.id);
      default:
        return false;
    }
  }

  /** As clients of the simulation compare: the modRevision of one key. */
  #holds({ range, operand }: Compare): boolean {
    return this.#modRevision(range.key) === operand;
  }

  #perform(operations: readonly Operation[]): boolean {
    const revision = this.revision + 1;
    const lacksLease = operations.some(
      (one) => one.type === 'put' && one.lease !== 0 && !this.hasLease(one.lease),
    );
    if (lacksLease) return false;
    for (const one of operations)
      if (one.type === 'put') this.#write(revision, one.key, text(one.value), one.lease);
      else if (one.type === 'delete' && this.#modRevision(one.range.key) > 0)
        this.#write(revision, one.range.key, undefined, 0);
    return true;
  }

  #isDue({ id, due }: Extract<Command, { type: 'lease-revoke' }>): boolean {
    if (due === undefined) return true;
    const isDue = due.term === this.#term && due.keptAt === this.#leases.get(id)?.keptAt;
    this.#world.count(isDue ? 'lease expired' : 'expiry void');
    return isDue;
  }

  #revoke(id: number): boolean {
    const lease = this.#leases.get(id);
    if (lease === undefined || !this.hasLease(id)) return false;
    lease.endedMs = this.#world.nowMs;
    this.#checkLease(id, lease);
    const revision = this.revision + 1;
    for (const [key, holder] of Array.from(this.#keyLeases).toSorted(([a], [b]) =>
      a < b ? -1 : 1,
    ))
      if (holder === id) {
        this.#keyLeases.delete(key);
        this.truth.add({ revision, key, value: undefined, isExpiry: true });
      }
    return true;
  }

  hasLease(id: number): boolean {
    return this.#leases.get(id)?.endedMs === Infinity;
  }

  /** Those that have not ended. */
  get heldLeases(): readonly number[] {
    return Array.from(this.#leases.keys()).filter((id) => this.hasLease(id));
  }

  /** A client was told that a lease's time began, or began anew, at `sinceMs` or later. */
  kept(id: number, sinceMs: number): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return this.#report(`lease ${id} was granted, they said`);
    lease.keptMs = Math.max(lease.keptMs, sinceMs);
    this.#checkLease(id, lease);
  }

  #checkLease(id: number, { keptMs, ttlMs, endedMs }: Lease): void {
    const missingMs = keptMs + ttlMs - endedMs;
    if (missingMs > 0) this.#report(`lease ${id} ended ${missingMs} ms too early`);
  }

  #write(revision: number, key: string, value: string | undefined, lease: number): void {
    this.truth.add({ revision, key, value });
    if (lease === 0) this.#keyLeases.delete(key);
    else this.#keyLeases.set(key, lease);
  }

  #modRevision(key: string): number {
    return this.truth.at(key, Infinity)?.modRevision ?? 0;
  }
}

function wasOk(result: CommandResult | undefined): boolean | undefined {
  switch (result?.type) {
    case 'write':
      return result.isOk;
    case 'txn':
      return result.isSuccess;
    case 'done':
      return true;
    default:
      return undefined;
  }
}

const decoder = new TextDecoder();

function text(value: Uint8Array): string {
  return decoder.decode(value);
}
