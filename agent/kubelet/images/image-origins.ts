// Where this machine's images came from, as far as this agent brought them: it alone knows which were
// pulled without credentials, and a loaded image does not say that a registry has it, too. A small
// file, since the engine remembers neither. What is not in it is shared with nobody.
import { readFile } from 'node:fs/promises';
import type { Logger } from '#kube/base/logger.ts';
import { writeFileAtomic } from '#platform/atomic-file.ts';
import { messageOf } from '../../error-message.ts';

/** `registry`: anybody may have it from there. `file`: a person handed it over for the cluster. */
export type ImageOrigin = 'registry' | 'file';

/** The oldest go. */
const imagesMax = 1000;

export class ImageOrigins {
  readonly #file: string;
  readonly #logger: Logger;
  #origins = new Map<string, ImageOrigin>();
  #writing = Promise.resolve();

  private constructor(file: string, logger: Logger) {
    this.#file = file;
    this.#logger = logger;
  }

  /** A file that can't be read is one that says nothing. */
  static async open(file: string, logger: Logger): Promise<ImageOrigins> {
    const origins = new ImageOrigins(file, logger);
    try {
      const entries = Object.entries(JSON.parse(await readFile(file, 'utf8')) as object);
      for (const [id, origin] of entries)
        if (origin === 'registry' || origin === 'file') origins.#origins.set(id, origin);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        logger.warn('Origins of images not read', { file, error: messageOf(error) });
    }
    return origins;
  }

  of(id: string): ImageOrigin | undefined {
    return this.#origins.get(id);
  }

  /** What a registry has stays so. Resolves when it is on disk, or could not be written. */
  note(id: string, origin: ImageOrigin): Promise<void> {
    const known = this.#origins.get(id);
    if (known === origin || known === 'registry') return this.#writing;
    this.#origins.set(id, origin);
    for (const oldest of this.#origins.keys()) {
      if (this.#origins.size <= imagesMax) break;
      this.#origins.delete(oldest);
    }
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  async #write(): Promise<void> {
    try {
      const text = JSON.stringify(Object.fromEntries(this.#origins), undefined, 1);
      await writeFileAtomic(this.#file, `${text}\n`);
    } catch (error) {
      // Known until the next start; then the image is one that is shared with nobody.
      this.#logger.warn('Origins of images not written', { error: messageOf(error) });
    }
  }
}
