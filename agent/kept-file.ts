// What was last known of the cluster, for an agent that starts while the control plane is away: pods run on then,
// and so must the ways to them. Written soon after a change, less and less often while changes go on, and when the
// agent stops; an idle cluster writes nothing. A file that can't be read is none.
import { createHash } from 'node:crypto';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { readBytesIfExists, writeFileAtomic } from '#platform/atomic-file.ts';
import { messageOf } from './error-message.ts';

export interface FileAccess {
  /** Undefined: there is none. */
  readonly read: () => Promise<Uint8Array | undefined>;
  readonly write: (bytes: Uint8Array) => Promise<void>;
}

/** Only the agent can read it. */
export function fileAt(path: string): FileAccess {
  return { read: () => readBytesIfExists(path), write: (bytes) => writeFileAtomic(path, bytes) };
}

export interface KeptFileDeps<T extends object> extends FileAccess {
  /** Of what, for the log: `Names`. */
  readonly about: string;
  /** The same for the same knowledge. */
  readonly content: () => T;
  /** What an earlier agent knew. */
  readonly remember: (content: T) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

const version = 1;
/**
 * An agent may be killed: what it heard moments before its end is not lost, also when one thing brings others (a Service,
 * then its pods). Each write of a row waits twice as long as the one before: a card is not worn.
 */
const gapMs = { first: 2_000, max: 60_000 };

export class KeptFile<T extends object> {
  readonly #deps: KeptFileDeps<T>;
  #timer: Timer | undefined;
  #isDirty = false;
  #lastWriteMs = -Infinity;
  #gapMs = gapMs.first;
  /** A digest of what the file holds. */
  #written = '';

  constructor(deps: KeptFileDeps<T>) {
    this.#deps = deps;
  }

  async load(): Promise<void> {
    const { about, remember, read, logger } = this.#deps;
    try {
      const bytes = await read();
      if (bytes === undefined) return;
      const text = Buffer.from(bytes).toString('utf8');
      const { version: found, ...content } = JSON.parse(text) as { version: number };
      if (found !== version) return;
      remember(content as T);
      this.#written = digest(text);
    } catch (error) {
      logger.warn('What was known before was not read', { about, error: messageOf(error) });
    }
  }

  /** Something changed. */
  touch(): void {
    const { clock } = this.#deps;
    this.#isDirty = true;
    const sinceMs = clock.monotonicMs() - this.#lastWriteMs;
    if (sinceMs >= gapMs.max) this.#gapMs = gapMs.first;
    const waitMs = Math.max(gapMs.first, this.#gapMs - sinceMs);
    this.#timer ??= clock.timer(waitMs, () => void this.save());
  }

  async save(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (!this.#isDirty) return;
    const { about, content, write, clock, logger } = this.#deps;
    const text = JSON.stringify({ version, ...content() });
    this.#isDirty = false;
    if (digest(text) === this.#written) return;
    this.#lastWriteMs = clock.monotonicMs();
    this.#gapMs = Math.min(2 * this.#gapMs, gapMs.max);
    try {
      await write(Buffer.from(text));
      this.#written = digest(text);
    } catch (error) {
      this.#isDirty = true;
      logger.warn('What is known is not written down', { about, error: messageOf(error) });
    }
  }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64');
}
