// The same objects in other versions, for admission: which there are, and an object of one as another.
// Source: kubernetes apimachinery pkg/runtime/mapper.go, apiserver pkg/admission/conversion.go.
import type { GroupVersionKind, GroupVersionResource, KubeObject } from '#kube/api/object.ts';
import { mergeConfiguration } from '#kube/machinery/apply/configuration.ts';
import { Shapes } from '#kube/machinery/apply/shapes.ts';
import { decodeObject, strictDecodeError } from '#kube/machinery/decode.ts';
import { deepCopy, isObject } from '#kube/machinery/equality.ts';
import { fieldMatcher } from '#kube/machinery/field-selector.ts';
import { gvkText, parseApiVersion } from '#kube/machinery/gvk.ts';
import type { SchemaRegistry } from '#kube/machinery/schema.ts';
import type { LabelMatcher } from '#kube/machinery/selector.ts';
import { badRequest, hasReason, internalError } from '#kube/machinery/status.ts';
import type { Registry } from './registry.ts';
import type { ResourceDefinition } from './resource.ts';
import { apiVersionOfResource, storagePrefix } from './resource-table.ts';

interface Equivalent {
  readonly resource: GroupVersionResource;
  readonly kind: GroupVersionKind;
}

export class KindVersions {
  readonly #registry: Registry;
  readonly #schemas: SchemaRegistry;
  readonly #shapes: Shapes;
  readonly #equivalents = new Map<string, readonly Equivalent[]>();
  #generation = -1;

  constructor(registry: Registry, schemas: SchemaRegistry) {
    this.#registry = registry;
    this.#schemas = schemas;
    this.#shapes = new Shapes(schemas);
  }

  /** Those that have the subresource, too. */
  equivalentsOf(
    { group, version, resource }: GroupVersionResource,
    subresource: string,
  ): readonly Equivalent[] {
    const { table } = this.#registry;
    if (this.#generation !== table.generation) this.#equivalents.clear();
    this.#generation = table.generation;
    const key = `${group}/${version}/${resource}/${subresource}`;
    const known = this.#equivalents.get(key);
    if (known !== undefined) return known;
    const definition = table.lookup(group, version, resource);
    const found =
      definition === undefined
        ? []
        : table
            .list()
            .filter(
              (other) =>
                other !== definition &&
                storagePrefix(other) === storagePrefix(definition) &&
                (subresource === '' || Object.hasOwn(other.subresources ?? {}, subresource)),
            )
            .map((other) => equivalent(other, subresource));
    this.#equivalents.set(key, found);
    return found;
  }

  /** An object of its own, with defaults. Throws a StatusError when it can't be converted. */
  async convert(object: KubeObject, kind: GroupVersionKind): Promise<KubeObject> {
    const { table } = this.#registry;
    const from = table.lookupKind({ ...parseApiVersion(object.apiVersion), kind: object.kind });
    const to = table.lookupKind(kind);
    if (from === undefined || to === undefined)
      throw internalError(
        new Error(`unable to convert to ${kind.group}/${kind.version}: unknown kind`),
      );
    return this.decode(await converted(object, from, to), kind);
  }

  /** With defaults. Throws 400 for what is no such object, and strictly for fields that it does not have. */
  decode(
    value: unknown,
    kind: GroupVersionKind,
    { isStrict = false }: { readonly isStrict?: boolean } = {},
  ): KubeObject {
    const definition = this.#registry.table.lookupKind(kind);
    const name = this.#schemaOf(kind);
    // Options of connections have no schema here: they are what a webhook makes of them.
    if (name === undefined) return asObject(value);
    const decoded = decodeObject(this.#schemas, name, value);
    if (isStrict && decoded.unknownFields.length > 0)
      throw strictDecodeError(name, decoded.unknownFields);
    const object = decoded.object as unknown as KubeObject;
    object.metadata ??= {} as KubeObject['metadata'];
    if (definition !== undefined) this.#registry.resource(definition).applyDefaults(object);
    return object;
  }

  /** As server-side apply would. Throws an Error for what is no configuration of the kind. */
  merge(
    object: KubeObject,
    configuration: Readonly<Record<string, unknown>>,
    kind: GroupVersionKind,
  ): unknown {
    const name = this.#schemaOf(kind);
    if (name === undefined) throw new Error(`no corresponding type for ${gvkText(kind)}`);
    const config = { ...configuration, apiVersion: object.apiVersion, kind: object.kind };
    return mergeConfiguration(this.#shapes, this.#schemas.get(name), { object, config });
  }

  #schemaOf(kind: GroupVersionKind): string | undefined {
    const [family = ''] = kind.group.split('.');
    const name =
      this.#registry.table.lookupKind(kind)?.schema ??
      `${family === '' ? 'core' : family}/${kind.version}.${kind.kind}`;
    return this.#schemas.has(name) ? name : undefined;
  }

  /** The objects of a kind, from the cache; undefined: there is no such kind. */
  find(kind: GroupVersionKind) {
    const definition = this.#registry.table.lookupKind(kind);
    if (definition === undefined) return undefined;
    const resource = this.#registry.resource(definition);
    return {
      resource: definition.plural,
      namespaced: definition.namespaced,
      async get(namespace: string, name: string): Promise<KubeObject | undefined> {
        try {
          return (await resource.get(namespace, name)).object;
        } catch (error) {
          if (hasReason(error, 'NotFound')) return undefined;
          throw error;
        }
      },
      async list(namespace: string, labels: LabelMatcher): Promise<readonly KubeObject[]> {
        const { items } = await resource.list({
          namespace,
          labels,
          fields: fieldMatcher([]),
          limit: 0,
          continueToken: '',
          resourceVersion: '0',
          resourceVersionMatch: '',
        });
        return items.map(({ object }) => object);
      },
    };
  }
}

function equivalent(definition: ResourceDefinition, subresource: string): Equivalent {
  const { group, version, plural, subresources } = definition;
  const sub = subresources?.[subresource];
  return {
    resource: { group, version, resource: plural },
    kind:
      sub?.type === 'scale'
        ? { group: 'autoscaling', version: 'v1', kind: 'Scale' }
        : { group, version, kind: definition.kind },
  };
}

/** Without defaults. Throws a StatusError. */
export async function converted(
  object: KubeObject,
  from: ResourceDefinition,
  to: ResourceDefinition,
): Promise<KubeObject> {
  if (to.converted !== undefined) {
    const [made] = await to.converted.by.convert([object], apiVersionOfResource(to));
    if (made !== undefined) return made;
  }
  const stored = from.storedAs === undefined ? object : from.storedAs.toStored(object);
  const made = to.storedAs === undefined ? stored : to.storedAs.fromStored(stored);
  const copy = deepCopy(made);
  copy.apiVersion = apiVersionOfResource(to);
  copy.kind = to.kind;
  return copy;
}

function asObject(value: unknown): KubeObject {
  if (!isObject(value)) throw badRequest('the object provided is unrecognized');
  return deepCopy(value) as unknown as KubeObject;
}
