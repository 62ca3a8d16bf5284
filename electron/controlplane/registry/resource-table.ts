// The resource table at run time: look-ups by URL (group, version, plural) and by kind, and the
// scheme of storage keys. It holds definitions only; resources.ts declares them.
// Keys: `/registry/<group or core>/<plural>/<namespace>/<name>`, without the namespace for
// cluster-scoped kinds.
import type { GroupVersionKind } from '#kube/api/object.ts';
import { assert } from '#kube/base/assert.ts';
import { allVerbs, type ResourceDefinition, type Verb } from './resource.ts';

export class ResourceTable {
  readonly #definitions: readonly ResourceDefinition[];
  readonly #byPath = new Map<string, ResourceDefinition>();
  readonly #byKind = new Map<string, ResourceDefinition>();

  constructor(definitions: readonly ResourceDefinition[]) {
    this.#definitions = definitions;
    for (const definition of definitions) {
      const path = pathKey(definition.group, definition.version, definition.plural);
      assert(!this.#byPath.has(path), `resource ${path} is declared twice`);
      this.#byPath.set(path, definition);
      this.#byKind.set(pathKey(definition.group, definition.version, definition.kind), definition);
    }
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
