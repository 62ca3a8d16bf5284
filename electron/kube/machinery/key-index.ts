// Where each key stands first in a list: what findIndex with deepEqual finds, in constant time.
// A patch may name a hundred thousand elements; comparing each with each would stop the server.
import { stableStringify } from './equality.ts';

export class KeyIndex {
  readonly #ofScalars = new Map<unknown, number>();
  readonly #ofObjects = new Map<string, number>();

  constructor(keys: readonly unknown[] = []) {
    for (const [position, key] of keys.entries()) this.add(key, position);
  }

  /** The first position of a key stays. */
  add(key: unknown, position: number): void {
    if (this.find(key) >= 0) return;
    if (isScalar(key)) this.#ofScalars.set(key, position);
    else this.#ofObjects.set(stableStringify(key), position);
  }

  /** -1 when it is not there. */
  find(key: unknown): number {
    const position = isScalar(key)
      ? this.#ofScalars.get(key)
      : this.#ofObjects.get(stableStringify(key));
    return position ?? -1;
  }

  has(key: unknown): boolean {
    return this.find(key) >= 0;
  }
}

function isScalar(key: unknown): boolean {
  return typeof key !== 'object' || key === null;
}
