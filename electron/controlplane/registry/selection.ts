// Which objects of a resource a request means: namespace, label selector, field selector.
// Unsupported field labels are refused here.
// Source: kubernetes apiserver pkg/storage/selection_predicate.go, apimachinery
// pkg/runtime/conversion.go (DefaultMetaV1FieldSelectorConversion).
import type { KubeObject } from '#kube/api/object.ts';
import type { FieldMatcher } from '#kube/machinery/field-selector.ts';
import type { LabelMatcher } from '#kube/machinery/selector.ts';
import { badRequest } from '#kube/machinery/status.ts';
import type { ResourceDefinition } from './resource.ts';
import { storageKey, storagePrefix } from './resource-table.ts';
import type { StoredObject } from './storage-codec.ts';

export interface Selection {
  /** '' for all namespaces, and for cluster-scoped kinds. */
  readonly namespace: string;
  readonly labels: LabelMatcher;
  readonly fields: FieldMatcher;
}

export interface Selector {
  readonly prefix: string;
  /** The one key that can match, when the selection names the object. */
  readonly onlyKey: string | undefined;
  /** Undefined: everything under the prefix. */
  readonly matches: ((stored: StoredObject) => boolean) | undefined;
}

/** Throws 400 for a field label that the resource does not support. */
export function selectorOf(definition: ResourceDefinition, selection: Selection): Selector {
  const { namespace, labels, fields } = selection;
  const isAsked = objectMatcher(definition, selection);
  const prefix = storagePrefix(definition, namespace);
  const name = fields.exactValue('metadata.name');
  const isLocated = !definition.namespaced || namespace !== '';
  const isOne = name !== undefined && name !== '' && isLocated;
  const onlyKey = isOne ? storageKey(definition, namespace, name) : undefined;
  if (labels.isEverything && fields.isEverything) return { prefix, onlyKey, matches: undefined };
  const isNamed = ({ key }: StoredObject): boolean =>
    name === undefined || key.endsWith(`/${name}`);
  // What has another name is never parsed.
  const matches = (stored: StoredObject): boolean => isNamed(stored) && isAsked(stored.shared);
  return { prefix, onlyKey, matches };
}

/** Which objects have the labels and fields asked for. Throws as `selectorOf`. */
export function objectMatcher(
  definition: ResourceDefinition,
  { labels, fields }: Selection,
): (object: KubeObject) => boolean {
  for (const term of fields.terms) checkFieldLabel(definition, term.field);
  return (object) =>
    labels.matches(object.metadata.labels) &&
    fields.matches((label) => fieldValue(definition, object, label));
}

function checkFieldLabel(definition: ResourceDefinition, label: string): void {
  if (label === 'metadata.name' || label === 'metadata.namespace') return;
  if (definition.fieldSelectors === undefined)
    throw badRequest(
      `"${label}" is not a known field selector: only "metadata.name", "metadata.namespace"`,
    );
  if (!Object.hasOwn(definition.fieldSelectors, label))
    throw badRequest(`field label not supported: ${label}`);
}

function fieldValue(definition: ResourceDefinition, object: KubeObject, label: string): string {
  if (label === 'metadata.name') return object.metadata.name ?? '';
  if (label === 'metadata.namespace') return object.metadata.namespace ?? '';
  return definition.fieldSelectors?.[label]?.(object) ?? '';
}
