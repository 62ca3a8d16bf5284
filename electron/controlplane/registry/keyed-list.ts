// Objects by key and in key order at once: a map beside a sorted array. Keys are ASCII, so
// JavaScript's order of strings is the store's order of bytes.

export class KeyedList<T extends { readonly key: string }> {
  readonly #byKey = new Map<string, T>();
  readonly #keys: string[];

  constructor(items: readonly T[] = []) {
    for (const item of items) this.#byKey.set(item.key, item);
    this.#keys = [...this.#byKey.keys()].sort();
  }

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): T | undefined {
    return this.#byKey.get(key);
  }

  set(item: T): void {
    if (!this.#byKey.has(item.key)) this.#keys.splice(this.#lowerBound(item.key), 0, item.key);
    this.#byKey.set(item.key, item);
  }

  delete(key: string): void {
    if (this.#byKey.delete(key)) this.#keys.splice(this.#lowerBound(key), 1);
  }

  withPrefix(prefix: string): T[] {
    const result: T[] = [];
    for (let index = this.#lowerBound(prefix); index < this.#keys.length; index++) {
      const key = this.#keys[index] ?? '';
      if (!key.startsWith(prefix)) break;
      const item = this.#byKey.get(key);
      if (item !== undefined) result.push(item);
    }
    return result;
  }

  /** The index of the first key >= `key`. */
  #lowerBound(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#keys[middle] ?? '') < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
