// An informer's local copy of a collection, with indices: what reconcilers read instead of the API.
// Objects are deeply frozen; copy one (structuredClone) before changing it.
// Source: client-go tools/cache/thread_safe_store.go, listers.
import type { KubeObject } from '../api/object.ts';
import { keyOf } from './resources.ts';

/** Answers the index values an object is found under. */
export type IndexFunction<T extends KubeObject> = (object: T) => readonly string[];

export const namespaceIndex = 'namespace';
/** Of objects with a controlling owner: that owner's uid. */
export const controllerIndex = 'controller';

export interface Matcher {
  matches(labels: Readonly<Record<string, string>>): boolean;
}

export interface Lister<T extends KubeObject> {
  /** `namespace` is '' for cluster-scoped objects. */
  get(namespace: string, name: string): T | undefined;
  /** By `namespace/name`, or `name` for cluster-scoped objects. */
  getByKey(key: string): T | undefined;
  list(options?: { readonly namespace?: string; readonly selector?: Matcher }): T[];
  /** Throws when the index was never declared. */
  byIndex(index: string, value: string): T[];
  readonly size: number;
}

export class ObjectCache<T extends KubeObject> implements Lister<T> {
  readonly #objects = new Map<string, T>();
  readonly #functions = new Map<string, IndexFunction<T>>();
  /** Index name → value → keys. */
  readonly #indices = new Map<string, Map<string, Set<string>>>();

  constructor(indexers: Readonly<Record<string, IndexFunction<T>>> = {}) {
    this.addIndex(namespaceIndex, (object) => [object.metadata.namespace ?? '']);
    this.addIndex(controllerIndex, controllerUids);
    for (const [name, indexer] of Object.entries(indexers)) this.addIndex(name, indexer);
  }

  get size(): number {
    return this.#objects.size;
  }

  /** Also indexes what is there already. A second declaration of a name is ignored. */
  addIndex(name: string, indexer: IndexFunction<T>): void {
    if (this.#functions.has(name)) return;
    this.#functions.set(name, indexer);
    this.#indices.set(name, new Map());
    for (const [key, object] of this.#objects) this.#addToIndex(name, indexer, key, object);
  }

  get(namespace: string, name: string): T | undefined {
    return this.#objects.get(keyOf({ metadata: { namespace, name } }));
  }

  getByKey(key: string): T | undefined {
    return this.#objects.get(key);
  }

  keys(): string[] {
    return [...this.#objects.keys()];
  }

  list(options: { readonly namespace?: string; readonly selector?: Matcher } = {}): T[] {
    const { namespace, selector } = options;
    const candidates =
      namespace === undefined
        ? [...this.#objects.values()]
        : this.byIndex(namespaceIndex, namespace);
    if (selector === undefined) return candidates;
    return candidates.filter((object) => selector.matches(object.metadata.labels ?? {}));
  }

  byIndex(index: string, value: string): T[] {
    const values = this.#indices.get(index);
    if (values === undefined) throw new Error(`no index ${index} was declared`);
    const found: T[] = [];
    for (const key of values.get(value) ?? []) {
      const object = this.#objects.get(key);
      if (object !== undefined) found.push(object);
    }
    return found;
  }

  /** Answers what was there under the key before. */
  set(key: string, object: T): T | undefined {
    const old = this.delete(key);
    this.#objects.set(key, object);
    for (const [name, indexer] of this.#functions) this.#addToIndex(name, indexer, key, object);
    return old;
  }

  delete(key: string): T | undefined {
    const old = this.#objects.get(key);
    if (old === undefined) return undefined;
    this.#objects.delete(key);
    for (const [name, indexer] of this.#functions) {
      const values = this.#indices.get(name);
      for (const value of indexer(old)) {
        const keys = values?.get(value);
        keys?.delete(key);
        if (keys?.size === 0) values?.delete(value);
      }
    }
    return old;
  }

  #addToIndex(name: string, indexer: IndexFunction<T>, key: string, object: T): void {
    const values = this.#indices.get(name);
    for (const value of indexer(object)) {
      const keys = values?.get(value);
      if (keys === undefined) values?.set(value, new Set([key]));
      else keys.add(key);
    }
  }
}

function controllerUids(object: KubeObject): string[] {
  const owner = object.metadata.ownerReferences?.find((reference) => reference.controller === true);
  return owner === undefined ? [] : [owner.uid];
}
