// A number of callers that put 1 KB again and again, each its next when the last was answered. The
// same for every store under test.
export interface LoadResult {
  readonly putsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface LoadOptions {
  readonly callers: number;
  readonly durationMs: number;
  /** Keys written round and round. */
  readonly keyCount: number;
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
      await put(`bench/${n % keyCount}`, valueOf(n));
      const nowMs = performance.now();
      if (beforeMs >= countFromMs && nowMs <= endMs) latencies.push(nowMs - beforeMs);
    }
  }
  await Promise.all(Array.from({ length: callers }, caller));
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (q: number): number => sorted[Math.floor(q * (sorted.length - 1))] ?? Number.NaN;
  return {
    putsPerSecond: latencies.length / ((endMs - countFromMs) / 1000),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
  };
}

/** Bytes that do not compress to nothing, and differ. */
export function valueOf(n: number): Uint8Array {
  const value = Buffer.alloc(valueBytes);
  for (let i = 0; i < valueBytes; i += 4)
    value.writeUInt32LE((n * 2_654_435_761 + i * 40_503) >>> 0, i);
  return value;
}
