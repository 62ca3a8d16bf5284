// Leases and the keys that hang on them, as the state holds them: no time here. When one is over
// is the leader's business (lease-expiry.ts); it comes back as a command.
import type { ByteKey } from './commands.ts';
import type { VersionHead } from './revision-index.ts';

export interface Lease {
  readonly id: number;
  readonly ttlSeconds: number;
  /** The entry that granted or kept it last; the leader alone may have done so since. */
  readonly keptAt: number;
  readonly keys: ReadonlySet<ByteKey>;
}

interface HeldLease extends Lease {
  keptAt: number;
  readonly keys: Set<ByteKey>;
}

export class LeaseTable {
  readonly #leases = new Map<number, HeldLease>();

  /** By id. */
  get ids(): readonly number[] {
    return Array.from(this.#leases.keys()).toSorted((a, b) => a - b);
  }

  get(id: number): Lease | undefined {
    return this.#leases.get(id);
  }

  /** The id must be new. */
  grant(id: number, ttlSeconds: number, keptAt: number): void {
    this.#leases.set(id, { id, ttlSeconds, keptAt, keys: new Set() });
  }

  /** False: there is no such lease. */
  keep(id: number, keptAt: number): boolean {
    const lease = this.#leases.get(id);
    if (lease !== undefined) lease.keptAt = keptAt;
    return lease !== undefined;
  }

  revoke(id: number): void {
    this.#leases.delete(id);
  }

  /** A key got a new version: it hangs on that one's lease, and on no other. */
  move(key: ByteKey, before: VersionHead | undefined, after: VersionHead): void {
    const leaseBefore = before?.lease ?? 0;
    if (leaseBefore === after.lease) return;
    this.#leases.get(leaseBefore)?.keys.delete(key);
    this.#leases.get(after.lease)?.keys.add(key);
  }
}
