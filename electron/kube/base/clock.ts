// Time as a parameter: code takes a Clock, so that whole clusters run on a virtual one in tests.

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall-clock time, milliseconds since the epoch. */
  now(): number;
  /** Milliseconds from an arbitrary start; never goes back. */
  monotonicMs(): number;
  /** Calls `callback` once after `delayMs`. Does not keep the process alive on its own. */
  timer(delayMs: number, callback: () => void): Timer;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  timer(delayMs, callback) {
    // A delay over 2^31-1 ms would fire at once.
    const handle = setTimeout(callback, Math.min(Math.max(0, delayMs), 2_147_483_647));
    unref(handle);
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Node's timers keep the process alive unless told otherwise; a browser's are numbers. */
function unref(handle: unknown): void {
  if (typeof handle === 'object' && handle !== null && 'unref' in handle)
    (handle as { unref(): void }).unref();
}

/** Resolves after `delayMs`, or at once when `signal` aborts. */
export function delay(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const timer = clock.timer(delayMs, done);
    function done(): void {
      timer.cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    }
    signal?.addEventListener('abort', done);
  });
}

/** RFC 3339 with second precision, as `metav1.Time` prints it: `2026-11-23T13:41:54Z`. */
export function rfc3339(ms: number): string {
  const second = Math.floor(ms / 1000);
  if (second !== lastSecond.at)
    lastSecond = { at: second, text: `${new Date(second * 1000).toISOString().slice(0, 19)}Z` };
  return lastSecond.text;
}

/** A write tells the time more than once, and a thousand of them come in a second. */
let lastSecond = { at: Number.NaN, text: '' };

/** RFC 3339 with microseconds, as `metav1.MicroTime` prints it. */
export function rfc3339Micro(ms: number): string {
  const whole = Math.floor(ms);
  const micros = Math.floor((ms - whole) * 1000);
  return `${new Date(whole).toISOString().slice(0, 23)}${String(micros).padStart(3, '0')}Z`;
}

interface PendingTimer {
  readonly due: number;
  readonly order: number;
  readonly callback: () => void;
}

/** A clock that moves only when told to. Timers fire in order of their due time. */
export class ManualClock implements Clock {
  #nowMs: number;
  #order = 0;
  readonly #start: number;
  readonly #pending = new Set<PendingTimer>();

  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs;
    this.#start = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs - this.#start;
  }

  timer(delayMs: number, callback: () => void): Timer {
    const entry = { due: this.#nowMs + Math.max(0, delayMs), order: this.#order++, callback };
    this.#pending.add(entry);
    return { cancel: () => void this.#pending.delete(entry) };
  }

  /** Milliseconds until the next timer fires; undefined when none is set. */
  nextTimerMs(): number | undefined {
    const next = this.#next();
    return next === undefined ? undefined : next.due - this.#nowMs;
  }

  /** Moves time on by `ms`, firing every timer that falls due, also those set on the way. */
  advance(ms: number): void {
    const end = this.#nowMs + ms;
    for (let next = this.#next(); next !== undefined && next.due <= end; next = this.#next()) {
      this.#pending.delete(next);
      this.#nowMs = next.due;
      next.callback();
    }
    this.#nowMs = end;
  }

  #next(): PendingTimer | undefined {
    let first: PendingTimer | undefined;
    for (const entry of this.#pending)
      if (
        first === undefined ||
        entry.due < first.due ||
        (entry.due === first.due && entry.order < first.order)
      )
        first = entry;
    return first;
  }
}
