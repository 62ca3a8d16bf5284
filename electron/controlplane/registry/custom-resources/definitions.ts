// A CustomResourceDefinition as entries of the resource table: one for each version. They are made
// anew when the definition changes. Pure but for the rules' engine, which its `load` brings.
// Source: kubernetes apiextensions-apiserver pkg/apiserver/customresource_handler.go,
// pkg/registry/customresource/strategy.go.
import type {
  CustomResourceDefinition,
  CustomResourceDefinitionVersion,
  JSONSchemaProps,
} from '#kube/api/apiextensions.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { deepCopy, isObject } from '#kube/machinery/equality.ts';
import type { KindRules, Schema, SchemaRegistry } from '#kube/machinery/schema.ts';
import { applyCustomDefaults, decodeCustom } from '#kube/machinery/structural/structural.ts';
import { compareVersions } from '#kube/machinery/version-order.ts';
import {
  allVerbs,
  type ResourceDefinition,
  type Subresource,
  type VersionConverter,
} from '../resource.ts';
import { apiVersionOfResource } from '../resource-table.ts';
import { customColumns } from './columns.ts';
import { isEstablished, isTerminating } from './names.ts';
import { setAtPath, valueAtPath } from './paths.ts';
import { customStrategy, statusRulesOf } from './strategy.ts';

/** What a definition brings into the table and the schemas. */
export interface CustomKinds {
  /** Of the served versions, the preferred one first. */
  readonly definitions: readonly ResourceDefinition[];
  /** By name; also of versions that are only stored. */
  readonly schemas: ReadonlyMap<string, { readonly schema: Schema; readonly rules: KindRules }>;
}

const nothing: CustomKinds = { definitions: [], schemas: new Map() };

export function customKinds(
  crd: CustomResourceDefinition,
  schemas: SchemaRegistry,
  converter: VersionConverter | undefined,
): CustomKinds {
  if (!isEstablished(crd)) return nothing;
  const versions = (crd.spec.versions ?? []).toSorted((a, b) => compareVersions(b.name, a.name));
  const storage = versions.find((version) => version.storage);
  if (storage === undefined) return nothing;
  const stored = {
    ...definitionOf(crd, storage),
    ...(converter === undefined ? {} : { converted: { stored: undefined, by: converter } }),
  };
  const another = (version: CustomResourceDefinitionVersion): ResourceDefinition => {
    const definition = definitionOf(crd, version);
    return converter === undefined
      ? { ...definition, storedAs: storedIn(stored, apiVersionOfResource(definition)) }
      : { ...definition, converted: { stored, by: converter } };
  };
  return {
    definitions: versions
      // While a definition goes, what is stored is deleted by its own version, served or not.
      .filter((version) => version.served || (version === storage && isTerminating(crd)))
      .map((version) => (version === storage ? stored : another(version))),
    schemas: new Map(
      versions.map((version) => [
        schemaName(crd, version),
        {
          schema: registrySchema(schemaOf(version), true),
          rules: kindRules(crd, version, schemas),
        },
      ]),
    ),
  };
}

function schemaOf({ schema }: CustomResourceDefinitionVersion): JSONSchemaProps {
  return schema?.openAPIV3Schema ?? { type: 'object' };
}

function namesOf({ spec, status }: CustomResourceDefinition) {
  return status?.acceptedNames ?? spec.names;
}

function schemaName(
  crd: CustomResourceDefinition,
  { name }: CustomResourceDefinitionVersion,
): string {
  return `${crd.spec.group}/${name}.${namesOf(crd).kind}`;
}

/** While it goes, nothing may come; finalizers have to be taken off what is there. */
const terminatingVerbs = allVerbs.filter((verb) => verb !== 'create');

function definitionOf(
  crd: CustomResourceDefinition,
  version: CustomResourceDefinitionVersion,
): ResourceDefinition {
  const { group, scope } = crd.spec;
  const { plural, singular = '', shortNames, kind, listKind, categories } = namesOf(crd);
  const apiVersion = `${group}/${version.name}`;
  const schema = schemaOf(version);
  const selectable = version.selectableFields ?? [];
  return {
    group,
    version: version.name,
    kind,
    plural,
    singular,
    namespaced: scope === 'Namespaced',
    schema: schemaName(crd, version),
    isCustom: true,
    columns: customColumns(version.additionalPrinterColumns),
    strategy: customStrategy(schema, { hasStatus: version.subresources?.status !== undefined }),
    subresources: subresourcesOf(version),
    ...(listKind === undefined ? {} : { listKind }),
    ...(shortNames === undefined ? {} : { shortNames }),
    ...(categories === undefined ? {} : { categories }),
    ...(isTerminating(crd) ? { verbs: terminatingVerbs } : {}),
    ...(selectable.length === 0 ? {} : { fieldSelectors: selectorsOf(selectable) }),
    ...(version.deprecated === true
      ? { deprecation: version.deprecationWarning ?? `${apiVersion} ${kind} is deprecated` }
      : {}),
  };
}

/** Conversion "None": only the apiVersion says another version. */
function storedIn(stored: ResourceDefinition, apiVersion: string): ResourceDefinition['storedAs'] {
  const storedVersion = `${stored.group}/${stored.version}`;
  return {
    definition: stored,
    toStored: (object) => ({ ...deepCopy(object), apiVersion: storedVersion }),
    fromStored: (object) => ({ ...object, apiVersion }),
  };
}

function selectorsOf(
  fields: readonly { readonly jsonPath: string }[],
): ResourceDefinition['fieldSelectors'] {
  return Object.fromEntries(
    fields.map(({ jsonPath }) => [
      jsonPath.slice(1),
      (object: KubeObject) => {
        const value = valueAtPath(object, jsonPath);
        return ['string', 'number', 'boolean'].includes(typeof value) ? String(value) : '';
      },
    ]),
  );
}

function subresourcesOf(version: CustomResourceDefinitionVersion): Record<string, Subresource> {
  const { status, scale } = version.subresources ?? {};
  const found: Record<string, Subresource> = {};
  if (status !== undefined)
    found['status'] = { type: 'status', validateUpdate: statusRulesOf(schemaOf(version)) };
  if (scale === undefined) return found;
  const { specReplicasPath, statusReplicasPath, labelSelectorPath = '' } = scale;
  const numberAt = (object: KubeObject, path: string): number => {
    const value = valueAtPath(object, path);
    return typeof value === 'number' ? value : 0;
  };
  found['scale'] = {
    type: 'scale',
    getSpecReplicas: (object) => numberAt(object, specReplicasPath),
    setSpecReplicas: (object, replicas) => setAtPath(object, specReplicasPath, replicas),
    getStatusReplicas: (object) => numberAt(object, statusReplicasPath),
    getSelector(object) {
      const value = labelSelectorPath === '' ? '' : valueAtPath(object, labelSelectorPath);
      return typeof value === 'string' ? value : '';
    },
  };
  return found;
}

function kindRules(
  crd: CustomResourceDefinition,
  version: CustomResourceDefinitionVersion,
  schemas: SchemaRegistry,
): KindRules {
  const schema = schemaOf(version);
  const apiVersion = `${crd.spec.group}/${version.name}`;
  return {
    published: schema,
    decode: (value) => decodeCustom(schemas, schema, value),
    applyDefaults(object) {
      const fields = object as Record<string, unknown>;
      applyCustomDefaults(schema, fields);
      // What lies in the store may have been written in another version.
      fields['apiVersion'] = apiVersion;
    },
  };
}

const objectFields = {
  apiVersion: { type: 'string' },
  kind: { type: 'string' },
  metadata: { $ref: 'meta/v1.ObjectMeta' },
} as const;

/** What the rest of the server asks a schema: types, list and map types, defaults of keys. */
function registrySchema(schema: JSONSchemaProps, isResource: boolean): Schema {
  const { properties, items, additionalProperties } = schema;
  const isEmbedded = isResource || schema['x-kubernetes-embedded-resource'] === true;
  const given = Object.entries(properties ?? {}).map(
    ([name, child]) => [name, registrySchema(child, false)] as const,
  );
  const all = { ...Object.fromEntries(given), ...(isEmbedded ? objectFields : {}) };
  return {
    ...pick(schema),
    ...(Object.keys(all).length === 0 ? {} : { properties: all }),
    ...(items === undefined ? {} : { items: registrySchema(items, false) }),
    ...(additionalProperties === undefined || additionalProperties === false
      ? {}
      : {
          additionalProperties:
            additionalProperties === true
              ? { 'x-kubernetes-preserve-unknown-fields': true }
              : registrySchema(additionalProperties, false),
        }),
  };
}

const kept = [
  'type',
  'format',
  'default',
  'x-kubernetes-int-or-string',
  'x-kubernetes-preserve-unknown-fields',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-map-type',
] as const;

function pick(schema: JSONSchemaProps): Schema {
  const fields: Record<string, unknown> = {};
  for (const name of kept) if (schema[name] !== undefined) fields[name] = schema[name];
  return fields;
}

/** Whether two states of a definition serve the same. */
export function servedForm(crd: CustomResourceDefinition): string {
  const { spec, status } = crd;
  return JSON.stringify([spec, status?.acceptedNames, isEstablished(crd), isTerminating(crd)]);
}

export function isCustomResourceDefinition(object: unknown): object is CustomResourceDefinition {
  return isObject(object) && object['kind'] === 'CustomResourceDefinition';
}
