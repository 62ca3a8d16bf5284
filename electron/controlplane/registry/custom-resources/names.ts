// Whether a definition gets the names it asks for, and what its conditions say. Pure.
// Source: kubernetes apiextensions-apiserver pkg/controller/{status,establish}.
import type {
  CustomResourceDefinition,
  CustomResourceDefinitionCondition,
  CustomResourceDefinitionNames,
} from '#kube/api/apiextensions.ts';
import { rfc3339 } from '#kube/base/clock.ts';

export function conditionOf(
  { status }: CustomResourceDefinition,
  type: string,
): CustomResourceDefinitionCondition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}

function isTrue(definition: CustomResourceDefinition, type: string): boolean {
  return conditionOf(definition, type)?.status === 'True';
}

/** Once true it stays so: what it serves goes on under the names it had. */
export function isEstablished(definition: CustomResourceDefinition): boolean {
  return isTrue(definition, 'Established');
}

export function isTerminating({ metadata }: CustomResourceDefinition): boolean {
  return metadata.deletionTimestamp !== undefined;
}

/** Names that are in use in the group. */
export interface TakenNames {
  readonly resources: ReadonlySet<string>;
  readonly kinds: ReadonlySet<string>;
}

interface Names {
  readonly plural?: string;
  readonly singular?: string;
  readonly shortNames?: readonly string[];
  readonly kind?: string;
  readonly listKind?: string;
}

export function takenNames(all: Iterable<Names>): TakenNames {
  const resources = new Set<string>();
  const kinds = new Set<string>();
  for (const { plural, singular, shortNames = [], kind, listKind } of all) {
    for (const name of [plural, singular, ...shortNames])
      if (name !== undefined && name !== '') resources.add(name);
    for (const name of [kind, listKind]) if (name !== undefined && name !== '') kinds.add(name);
  }
  return { resources, kinds };
}

/** Mutates `definition.status`: names, conditions, and the versions objects are stored in. */
export function decideNames(
  definition: CustomResourceDefinition,
  taken: TakenNames,
  nowMs: number,
): void {
  const { spec } = definition;
  const status = (definition.status ??= {});
  const conflict = acceptNames(spec.names, taken, status.acceptedNames);
  status.acceptedNames = conflict.names;
  setCondition(definition, nowMs, {
    type: 'NamesAccepted',
    status: conflict.reason === undefined ? 'True' : 'False',
    reason: conflict.reason ?? 'NoConflicts',
    message: conflict.message ?? 'no conflicts found',
  });
  if (!isEstablished(definition)) {
    const isAccepted = conflict.reason === undefined;
    setCondition(definition, nowMs, {
      type: 'Established',
      status: isAccepted ? 'True' : 'False',
      reason: isAccepted ? 'InitialNamesAccepted' : 'NotAccepted',
      message: isAccepted ? 'the initial names have been accepted' : 'not all names are accepted',
    });
  }
  const storage = (spec.versions ?? []).find((version) => version.storage)?.name;
  const stored = status.storedVersions ?? [];
  if (storage !== undefined && !stored.includes(storage)) stored.push(storage);
  status.storedVersions = stored;
}

interface Acceptance {
  readonly names: CustomResourceDefinitionNames;
  readonly reason?: string;
  readonly message?: string;
}

/** A name in conflict stays as it was; the rest is taken over. */
function acceptNames(
  asked: CustomResourceDefinitionNames,
  taken: TakenNames,
  accepted: CustomResourceDefinitionNames = { plural: '', kind: '' },
): Acceptance {
  const names: CustomResourceDefinitionNames = { ...accepted };
  let failure: { reason: string; message: string } | undefined;
  const one = (name: 'plural' | 'singular' | 'kind' | 'listKind', reason: string): void => {
    const value = asked[name] ?? '';
    const used = name === 'kind' || name === 'listKind' ? taken.kinds : taken.resources;
    if (value !== accepted[name] && used.has(value))
      failure = { reason, message: `${JSON.stringify(value)} is already in use` };
    else names[name] = value;
  };
  one('plural', 'PluralConflict');
  one('singular', 'SingularConflict');
  const shortNames = asked.shortNames ?? [];
  const inUse = shortNames.filter(
    (name) => !(accepted.shortNames ?? []).includes(name) && taken.resources.has(name),
  );
  if (inUse.length > 0)
    failure = {
      reason: 'ShortNamesConflict',
      message: inUse.map((name) => `${JSON.stringify(name)} is already in use`).join(', '),
    };
  else if (shortNames.length > 0) names.shortNames = [...shortNames];
  else delete names.shortNames;
  one('kind', 'KindConflict');
  one('listKind', 'ListKindConflict');
  if ((asked.categories ?? []).length > 0) names.categories = [...(asked.categories ?? [])];
  else delete names.categories;
  return failure === undefined ? { names } : { names, ...failure };
}

export function setCondition(
  definition: CustomResourceDefinition,
  nowMs: number,
  wanted: CustomResourceDefinitionCondition,
): void {
  const status = (definition.status ??= {});
  const conditions = (status.conditions ??= []);
  const index = conditions.findIndex(({ type }) => type === wanted.type);
  const old = conditions[index];
  const lastTransitionTime =
    old?.status === wanted.status ? (old.lastTransitionTime ?? rfc3339(nowMs)) : rfc3339(nowMs);
  const { type, status: value, reason, message } = wanted;
  const next = {
    lastTransitionTime,
    message,
    reason,
    status: value,
    type,
  } as CustomResourceDefinitionCondition;
  if (index < 0) conditions.push(next);
  else conditions[index] = next;
}
