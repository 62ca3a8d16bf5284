// Callers that put again and again, each its next when the last was answered. The same for every
// store under test.
export interface LoadResult {
  readonly putsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** All of them, those that only warm up too. */
  readonly puts: number;
}

export interface LoadOptions {
  readonly callers: number;
  readonly durationMs: number;
  /** Keys written round and round. */
  readonly keyCount: number;
}

export interface PaceOptions {
  readonly putsPerSecond: number;
  readonly puts: number;
  readonly keyCount: number;
  readonly valueBytes: number;
}

/** Puts unconditionally; rejects when the store can't. */
export type Put = (key: string, value: Uint8Array) => Promise<unknown>;

export const valueBytes = 1024;
const warmUpShare = 0.2;

/** The first fifth of the time only warms up. */
export async function load(put: Put, options: LoadOptions): Promise<LoadResult> {
  const { callers, durationMs, keyCount } = options;
  const startedMs = performance.now();
  const countFromMs = startedMs + durationMs * warmUpShare;
  const endMs = startedMs + durationMs;
  const latencies: number[] = [];
  let next = 0;
  async function caller(): Promise<void> {
    for (;;) {
      const beforeMs = performance.now();
      if (beforeMs >= endMs) return;
      const n = next++;
      await put(keyOf(n % keyCount), valueOf(n));
      const nowMs = performance.now();
      if (beforeMs >= countFromMs && nowMs <= endMs) latencies.push(nowMs - beforeMs);
    }
  }
  await inParallel(callers, caller);
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (q: number): number => sorted[Math.floor(q * (sorted.length - 1))] ?? Number.NaN;
  return {
    putsPerSecond: latencies.length / ((endMs - countFromMs) / 1000),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    puts: next,
  };
}

/** One put after the other at a steady pace, and later ones when the store is slower than that. */
export async function paced(put: Put, options: PaceOptions): Promise<void> {
  const startedMs = performance.now();
  for (let n = 0; n < options.puts; n++) {
    const dueMs = startedMs + (n * 1000) / options.putsPerSecond;
    const leftMs = Math.max(0, dueMs - performance.now());
    await new Promise((resolve) => setTimeout(resolve, leftMs));
    await put(keyOf(n % options.keyCount), valueOf(n, options.valueBytes));
  }
}

/** So many puts, whatever time they take. */
export async function putMany(
  put: Put,
  { puts, callers, keyCount }: { readonly puts: number; callers: number; keyCount: number },
): Promise<void> {
  let next = 0;
  await inParallel(callers, async () => {
    while (next < puts) {
      const n = next++;
      await put(keyOf(n % keyCount), valueOf(n));
    }
  });
}

/**
 * The longest that any put of some callers took which was under way during `work`, or began while
 * it lasted, which is looked at for `patienceMs` at most.
 */
export async function worstPutMs(
  put: Put,
  { callers, patienceMs }: { readonly callers: number; readonly patienceMs: number },
  work: () => Promise<unknown>,
): Promise<number> {
  let worstMs = 0;
  const state = { isDone: false };
  let next = 0;
  const putting = inParallel(callers, async () => {
    while (!state.isDone) {
      const beforeMs = performance.now();
      const n = next++;
      await put(keyOf(n % 1000), valueOf(n));
      worstMs = Math.max(worstMs, performance.now() - beforeMs);
    }
  });
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise((resolve) => {
    timer = setTimeout(resolve, patienceMs);
  });
  try {
    await Promise.race([work(), patience]);
  } finally {
    clearTimeout(timer);
    state.isDone = true;
    await putting;
  }
  return worstMs;
}

async function inParallel(count: number, caller: () => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: count }, caller));
}

export function keyOf(n: number): string {
  return `/registry/bench/${n}`;
}

const noise = makeNoise();

/** Bytes that do not compress to nothing, and mostly differ; shared, so not to be changed. */
export function valueOf(n: number, bytes = valueBytes): Uint8Array {
  const at = (n * 7919) % (noise.length - bytes);
  return noise.subarray(at, at + bytes);
}

function makeNoise(): Uint8Array {
  const bytes = Buffer.alloc(256 * 1024);
  let state = 1;
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[i] = state >>> 16;
  }
  return bytes;
}
