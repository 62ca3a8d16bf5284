// Randomness as a parameter: the system's for production, a seeded one for tests.

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** `length` random bytes. */
  bytes(length: number): Uint8Array;
}

/** Backed by the platform's cryptographic source. */
export const systemRandom: Random = pooledRandom((bytes) => crypto.getRandomValues(bytes));

/** Asking the system costs 30 µs whatever the length, and every request needs a few bytes. */
export function pooledRandom(fill: (bytes: Uint8Array<ArrayBuffer>) => unknown): Random {
  const pool = new Uint8Array(4096);
  let used = pool.length;
  function bytes(length: number): Uint8Array {
    if (length > pool.length) {
      const own = new Uint8Array(length);
      fill(own);
      return own;
    }
    if (used + length > pool.length) {
      fill(pool);
      used = 0;
    }
    const taken = pool.slice(used, used + length);
    pool.fill(0, used, used + length);
    used += length;
    return taken;
  }
  return {
    next() {
      const word = bytes(4).reduce((sum, byte) => sum * 256 + byte, 0);
      return word / 4_294_967_296;
    },
    bytes,
  };
}

/** mulberry32: small, fast, good enough for simulation; never for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }
  return { next, bytes: (length) => Uint8Array.from({ length }, () => Math.floor(next() * 256)) };
}

const hexOf = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** A version-4 UUID. */
export function uuid(random: Random): string {
  const bytes = random.bytes(16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  let text = '';
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) text += '-';
    text += hexOf[bytes[i] ?? 0] ?? '';
  }
  return text;
}

const safeAlphabet = 'bcdfghjklmnpqrstvwxz2456789';

/**
 * `length` characters for generated names: no vowels and no look-alikes, so no words arise.
 * Source: kubernetes apimachinery pkg/util/rand SafeEncodeString.
 */
export function safeSuffix(random: Random, length = 5): string {
  let suffix = '';
  while (suffix.length < length)
    suffix += safeAlphabet[Math.floor(random.next() * safeAlphabet.length)];
  return suffix;
}

/** `baseMs` spread to [baseMs, baseMs * (1 + factor)), so that clients don't act in step. */
export function jitter(random: Random, baseMs: number, factor: number): number {
  return baseMs * (1 + random.next() * factor);
}
