// Answers that are believed for a while: who a token is, whether somebody may. Bounded; those who ask
// at once share one question; a question that failed is asked again.
import type { Clock } from '#kube/base/clock.ts';

interface Entry<V> {
  readonly answer: Promise<V>;
  /** Infinity until it is known. */
  untilMs: number;
}

export interface VerdictCacheOptions<V> {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly entriesMax: number;
  readonly ttlMs: (answer: V) => number;
}

export class VerdictCache<V> {
  readonly #options: VerdictCacheOptions<V>;
  /** Oldest question first. */
  readonly #entries = new Map<string, Entry<V>>();

  constructor(options: VerdictCacheOptions<V>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string, ask: () => Promise<V>): Promise<V> {
    const { clock, ttlMs } = this.#options;
    const known = this.#entries.get(key);
    if (known !== undefined && clock.monotonicMs() < known.untilMs) return known.answer;
    this.#entries.delete(key);
    this.#makeRoom();
    const answer = ask();
    const entry: Entry<V> = { answer, untilMs: Infinity };
    this.#entries.set(key, entry);
    answer.then(
      (verdict) => (entry.untilMs = clock.monotonicMs() + ttlMs(verdict)),
      () => {
        if (this.#entries.get(key) === entry) this.#entries.delete(key);
      },
    );
    return answer;
  }

  #makeRoom(): void {
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size < this.#options.entriesMax) return;
      this.#entries.delete(oldest);
    }
  }
}
