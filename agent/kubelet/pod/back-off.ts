// Exponential back-off per key, as the kubelet counts it: the first event of a key goes through at
// once; then 10 s, doubling to 5 min; forgotten after 10 min of quiet.
// Source: kubernetes client-go util/flowcontrol/backoff.go.

export const initialBackOffMs = 10_000;
export const maxBackOffMs = 300_000;
/** Oldest entries go first past this many. */
const entriesMax = 4096;

interface Entry {
  delayMs: number;
  updatedMs: number;
}

export class BackOff {
  readonly #entries = new Map<string, Entry>();

  /** Milliseconds still to wait, for something that failed at `sinceMs`; 0: go. */
  remainingMs(key: string, sinceMs: number, nowMs: number): number {
    const entry = this.#entries.get(key);
    if (entry === undefined || isForgotten(entry, sinceMs)) return 0;
    return Math.max(0, sinceMs + entry.delayMs - nowMs);
  }

  /** Notes another try after a failure at `sinceMs`; the next one waits longer. */
  next(key: string, sinceMs: number, nowMs: number): void {
    const entry = this.#entries.get(key);
    const fresh = entry === undefined || isForgotten(entry, sinceMs);
    const delayMs = fresh ? initialBackOffMs : Math.min(entry.delayMs * 2, maxBackOffMs);
    this.#entries.delete(key);
    this.#entries.set(key, { delayMs, updatedMs: nowMs });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= entriesMax) break;
      this.#entries.delete(oldest);
    }
  }

  /** The delay in force; 0 when the key is unknown. */
  delayMs(key: string): number {
    return this.#entries.get(key)?.delayMs ?? 0;
  }

  forget(key: string): void {
    this.#entries.delete(key);
  }
}

function isForgotten(entry: Entry, sinceMs: number): boolean {
  return sinceMs - entry.updatedMs > 2 * maxBackOffMs;
}
