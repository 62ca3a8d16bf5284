// The mutations of a policy, compiled once for as long as the policy stays as it is, and what one of them makes
// of an object.
// Source: kubernetes apiserver pkg/admission/plugin/policy/mutating/{compilation.go,patch/smd.go,patch/json_patch.go}.
import type { MutatingAdmissionPolicy, Mutation } from '#kube/api/admissionregistration-v1beta1.ts';
import type { GroupVersionKind, KubeObject } from '#kube/api/object.ts';
import { isObject } from '#kube/machinery/equality.ts';
import { applyJsonPatch, isFailedTest, patchFailure } from '#kube/machinery/patch.ts';
import { internalError } from '#kube/machinery/status.ts';
import type { AdmissionExpressions, Expression } from '../../cel/admission.ts';
import type { KindVersions } from '../dynamic/deps.ts';

export interface CompiledMutations {
  readonly conditions: readonly Expression[];
  readonly variables: ReadonlyMap<string, Expression>;
  readonly mutations: readonly CompiledMutation[];
}

export interface CompiledMutation {
  readonly patchType: string;
  readonly expression: Expression;
}

/** Throws an Error that says which one is wrong, and why. */
export function compileMutations(
  expressions: AdmissionExpressions,
  { spec }: MutatingAdmissionPolicy,
): CompiledMutations {
  return {
    conditions: (spec.matchConditions ?? []).map(({ expression }) =>
      expressions.compile(expression, 'policy', ['bool']),
    ),
    variables: new Map(
      (spec.variables ?? []).map(({ name, expression }) => [
        name,
        expressions.compile(expression, 'policy'),
      ]),
    ),
    mutations: (spec.mutations ?? []).map((mutation) => compileMutation(expressions, mutation)),
  };
}

function compileMutation(
  expressions: AdmissionExpressions,
  { patchType, applyConfiguration, jsonPatch }: Mutation,
): CompiledMutation {
  const isApplied = patchType === 'ApplyConfiguration';
  const { expression = '' } = (isApplied ? applyConfiguration : jsonPatch) ?? {};
  const type = isApplied ? 'Object' : 'list<JSONPatch>';
  return { patchType, expression: expressions.compile(expression, 'mutation', [type]) };
}

/** `made`: the JSON the expression came to. Throws an Error, or a StatusError that ends the request. */
export function mutated(
  { patchType }: CompiledMutation,
  made: unknown,
  {
    object,
    kind,
    kinds,
  }: {
    readonly object: KubeObject;
    readonly kind: GroupVersionKind;
    readonly kinds: KindVersions;
  },
): KubeObject {
  if (patchType === 'ApplyConfiguration') {
    if (!isObject(made))
      throw new Error('unsupported return type from ApplyConfiguration expression');
    try {
      return kinds.decode(kinds.merge(object, made, kind), kind);
    } catch (error) {
      throw new Error(`error applying patch: ${(error as Error).message}`, { cause: error });
    }
  }
  return patched(object, made, { kind, kinds });
}

function patched(
  object: KubeObject,
  patch: unknown,
  { kind, kinds }: { readonly kind: GroupVersionKind; readonly kinds: KindVersions },
): KubeObject {
  let result: unknown;
  try {
    result = applyJsonPatch(object, patch);
  } catch (error) {
    // A policy may well ask whether something holds, and leave the object alone if not.
    if (isFailedTest(error)) return object;
    throw new Error(`JSONPath: ${patchFailure(error)}`, { cause: error });
  }
  try {
    return kinds.decode(result, kind, { isStrict: true });
  } catch (error) {
    throw internalError(error);
  }
}
