// A policy's expressions against the types of what it is asked about: warnings for its status.
// Source: kubernetes apiserver pkg/admission/plugin/policy/validating/typechecking.go.
import type {
  ExpressionWarning,
  MatchResources,
  ValidatingAdmissionPolicySpec,
} from '#kube/api/admissionregistration.ts';
import type { GroupVersionKind } from '#kube/api/object.ts';
import { gvkText, parseApiVersion } from '#kube/machinery/gvk.ts';
import type { AdmissionExpressions } from './admission.ts';
import type { TypeScope } from './admission-types.ts';
import type { ResolveType, TypeSchema } from './types.ts';

const maxKinds = 10;

/** The kinds that are served, with their schemas. */
export interface KindTypes {
  readonly resolve: ResolveType;
  kindOf(group: string, version: string, plural: string): GroupVersionKind | undefined;
  schemaOf(kind: GroupVersionKind): TypeSchema | undefined;
}

export function typeWarnings(
  expressions: AdmissionExpressions,
  spec: ValidatingAdmissionPolicySpec,
  kinds: KindTypes,
): ExpressionWarning[] {
  const { paramKind } = spec;
  const params =
    paramKind === undefined
      ? undefined
      : kinds.schemaOf({
          ...parseApiVersion(paramKind.apiVersion ?? ''),
          kind: paramKind.kind ?? '',
        });
  const types = kindsIn(spec.matchConstraints, kinds).flatMap((kind) => {
    const object = kinds.schemaOf(kind);
    if (object === undefined) return [];
    // Declaring a kind's types is most of the work: once for all expressions.
    const scope = expressions.scope('policy', { object, params, resolve: kinds.resolve });
    for (const { name, expression } of spec.variables ?? []) scope.add(name, expression);
    return [{ kind, scope }];
  });
  const warn = (fieldRef: string, expression: string | undefined): ExpressionWarning[] => {
    if (expression === undefined || expression === '') return [];
    const complaints = types.flatMap(({ kind, scope }) => {
      const complaint = complaintOf(scope, expression);
      return complaint === undefined ? [] : [`${gvkText(kind)}: ${complaint}\n`];
    });
    return complaints.length === 0 ? [] : [{ fieldRef, warning: complaints.join('\n') }];
  };
  return (spec.validations ?? []).flatMap(({ expression, messageExpression }, index) => [
    ...warn(`spec.validations[${index}].expression`, expression),
    ...warn(`spec.validations[${index}].messageExpression`, messageExpression),
  ]);
}

function complaintOf(scope: TypeScope, expression: string): string | undefined {
  try {
    scope.check(expression);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Wildcards and subresources tell of no kind. */
function kindsIn(match: MatchResources | undefined, kinds: KindTypes): GroupVersionKind[] {
  const found = new Map<string, GroupVersionKind>();
  for (const { apiGroups = [], apiVersions = [], resources = [] } of match?.resourceRules ?? []) {
    if ([...apiGroups, ...apiVersions].some((name) => name.includes('*'))) continue;
    for (const group of apiGroups)
      for (const version of apiVersions)
        for (const plural of resources.filter((name) => !/[*/]/.test(name))) {
          const kind = kinds.kindOf(group, version, plural);
          if (kind !== undefined) found.set(`${group}\0${version}\0${kind.kind}`, kind);
        }
  }
  return [...found]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, maxKinds)
    .map(([, kind]) => kind);
}
