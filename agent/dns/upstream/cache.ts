// Answers of other servers, for as long as they hold; after that for as long as there is room, for when
// no server answers (RFC 8767). Bounded by count and by bytes; what was not asked for the longest goes.
import type { UpstreamReply } from '../wire/upstream-reply.ts';

export interface CachedReply {
  readonly reply: UpstreamReply;
  /** On the monotonic clock. */
  readonly storedAtMs: number;
}

export interface CacheLimits {
  readonly entriesMax: number;
  readonly bytesMax: number;
}

/** Objects, keys and numbers around the bytes of an answer, about. */
const entryOverheadBytes = 600;
const replyBytesMax = 8_192;
const staleMaxMs = 24 * 3_600_000;

export class ReplyCache {
  readonly #limits: CacheLimits;
  /** The one asked for last comes last. */
  readonly #entries = new Map<string, CachedReply>();
  #bytes = 0;

  constructor(limits: CacheLimits = { entriesMax: 4_096, bytesMax: 3 * 1024 * 1024 }) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Also one that is out of date. */
  get(key: string, nowMs: number): CachedReply | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (nowMs - entry.storedAtMs > staleMaxMs) {
      this.#bytes -= sizeOf(key, entry);
      return undefined;
    }
    this.#entries.set(key, entry);
    return entry;
  }

  set(key: string, entry: CachedReply): void {
    this.#remove(key);
    const { bytes, ttlSeconds, isTruncated } = entry.reply;
    if (ttlSeconds === undefined || isTruncated || bytes.length > replyBytesMax) return;
    this.#entries.set(key, entry);
    this.#bytes += sizeOf(key, entry);
    const { entriesMax, bytesMax } = this.#limits;
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= entriesMax && this.#bytes <= bytesMax) break;
      this.#remove(oldest);
    }
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= sizeOf(key, entry);
  }
}

export function isFresh({ reply, storedAtMs }: CachedReply, nowMs: number): boolean {
  return nowMs - storedAtMs < (reply.ttlSeconds ?? 0) * 1000;
}

function sizeOf(key: string, { reply }: CachedReply): number {
  return key.length + reply.bytes.length + entryOverheadBytes;
}
