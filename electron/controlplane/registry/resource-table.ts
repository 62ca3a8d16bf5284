// The resource table at run time: look-ups by URL (group, version, plural) and by kind, and the
// scheme of storage keys. It holds definitions only; resources.ts declares the built-in ones, and
// CustomResourceDefinitions bring others and take them away.
// Keys: `/registry/<group or core>/<plural>/<namespace>/<name>`, without the namespace for
// cluster-scoped kinds.
import type { GroupVersionKind } from '#kube/api/object.ts';
import { assert } from '#kube/base/assert.ts';
import { compareVersions } from '#kube/machinery/version-order.ts';
import { allVerbs, type ResourceDefinition, type Verb } from './resource.ts';

export class ResourceTable {
  readonly builtIn: readonly ResourceDefinition[];
  /** By the name of the CustomResourceDefinition that brought them. */
  readonly #custom = new Map<string, readonly ResourceDefinition[]>();
  #definitions: readonly ResourceDefinition[];
  #byPath = new Map<string, ResourceDefinition>();
  #byKind = new Map<string, ResourceDefinition>();
  #generation = 0;

  constructor(definitions: readonly ResourceDefinition[]) {
    this.builtIn = definitions;
    this.#definitions = definitions;
    for (const definition of definitions) {
      const path = pathKey(definition.group, definition.version, definition.plural);
      assert(!this.#byPath.has(path), `resource ${path} is declared twice`);
      this.#add(definition);
    }
  }

  /** Goes up with every change: what is derived from the table has to be made anew. */
  get generation(): number {
    return this.#generation;
  }

  customOf(source: string): readonly ResourceDefinition[] {
    return this.#custom.get(source) ?? [];
  }

  /** Puts `definitions` in the place of those that came from `source` before. */
  setCustom(source: string, definitions: readonly ResourceDefinition[]): void {
    if (definitions.length === 0) this.#custom.delete(source);
    else this.#custom.set(source, definitions);
    const custom = [...this.#custom.values()].flat().sort(compareCustom);
    this.#definitions = [...this.builtIn, ...custom];
    this.#byPath = new Map();
    this.#byKind = new Map();
    // What is built in goes before what came later.
    for (const definition of [...custom, ...this.builtIn]) this.#add(definition);
    this.#generation++;
  }

  #add(definition: ResourceDefinition): void {
    const { group, version, plural, kind } = definition;
    this.#byPath.set(pathKey(group, version, plural), definition);
    this.#byKind.set(pathKey(group, version, kind), definition);
  }

  /** By what a URL says; `group` is '' for core, `plural` such as `pods`. */
  lookup(group: string, version: string, plural: string): ResourceDefinition | undefined {
    return this.#byPath.get(pathKey(group, version, plural));
  }

  lookupKind({ group, version, kind }: GroupVersionKind): ResourceDefinition | undefined {
    return this.#byKind.get(pathKey(group, version, kind));
  }

  list(): readonly ResourceDefinition[] {
    return this.#definitions;
  }

  [Symbol.iterator](): Iterator<ResourceDefinition> {
    return this.#definitions[Symbol.iterator]();
  }
}

/** By group, the preferred version first, then by name. */
function compareCustom(a: ResourceDefinition, b: ResourceDefinition): number {
  if (a.group !== b.group) return a.group < b.group ? -1 : 1;
  const order = compareVersions(b.version, a.version);
  return order === 0 ? (a.plural < b.plural ? -1 : 1) : order;
}

function pathKey(group: string, version: string, name: string): string {
  return `${group}/${version}/${name}`;
}

/** `v1`, or `apps/v1`: what stands in an object's apiVersion. */
export function apiVersionOfResource(definition: ResourceDefinition): string {
  return definition.group === '' ? definition.version : `${definition.group}/${definition.version}`;
}

export function supportsVerb(definition: ResourceDefinition, verb: Verb): boolean {
  return (definition.verbs ?? allVerbs).includes(verb);
}

/** The prefix of all keys of a resource, or of those in one namespace ('' for all). */
export function storagePrefix(definition: ResourceDefinition, namespace = ''): string {
  const { group, plural } = definition.storedAs?.definition ?? definition;
  const prefix = `/registry/${group === '' ? 'core' : group}/${plural}/`;
  return definition.namespaced && namespace !== '' ? `${prefix}${namespace}/` : prefix;
}

/** `namespace` is ignored for cluster-scoped kinds. */
export function storageKey(
  definition: ResourceDefinition,
  namespace: string,
  name: string,
): string {
  return `${storagePrefix(definition, namespace)}${name}`;
}
