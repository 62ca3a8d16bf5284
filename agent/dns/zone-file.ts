// What was last known of the cluster's names, for an agent that starts while the control plane is away: pods run
// on then, and go on asking. Written a minute after a change, and when the agent stops; an idle
// cluster writes nothing. A file that can't be read is none.
import { createHash } from 'node:crypto';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { messageOf } from '../error-message.ts';
import type { Zone, ZoneContent } from './zone.ts';

export interface ZoneFileDeps {
  readonly zone: Zone;
  /** Undefined: there is none. */
  readonly read: () => Promise<Uint8Array | undefined>;
  readonly write: (bytes: Uint8Array) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

const version = 1;
const writeAfterMs = 60_000;

export class ZoneFile {
  readonly #deps: ZoneFileDeps;
  #timer: Timer | undefined;
  #isDirty = false;
  /** A digest of what the file holds. */
  #written = '';

  constructor(deps: ZoneFileDeps) {
    this.#deps = deps;
  }

  async load(): Promise<void> {
    const { zone, read, logger } = this.#deps;
    try {
      const bytes = await read();
      if (bytes === undefined) return;
      const text = Buffer.from(bytes).toString('utf8');
      const { version: found, ...content } = JSON.parse(text) as ZoneContent & { version: number };
      if (found !== version) return;
      zone.remember(content);
      this.#written = digest(text);
    } catch (error) {
      logger.warn('Names known before were not read', { error: messageOf(error) });
    }
  }

  /** Something changed. */
  touch(): void {
    this.#isDirty = true;
    this.#timer ??= this.#deps.clock.timer(writeAfterMs, () => void this.save());
  }

  async save(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (!this.#isDirty) return;
    const { zone, write, logger } = this.#deps;
    const text = JSON.stringify({ version, ...zone.content() });
    this.#isDirty = false;
    if (digest(text) === this.#written) return;
    try {
      await write(Buffer.from(text));
      this.#written = digest(text);
    } catch (error) {
      this.#isDirty = true;
      logger.warn('Names not written down', { error: messageOf(error) });
    }
  }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64');
}
