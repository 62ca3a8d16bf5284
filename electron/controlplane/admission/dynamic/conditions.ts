// matchConditions: expressions that all have to hold before a webhook or a policy is asked.
// Source: kubernetes apiserver pkg/admission/plugin/webhook/matchconditions/matcher.go.
import type { AdmissionExpressions, Expression } from '../../cel/admission.ts';

/** `no`: somebody is not asked. `error`: what to refuse the request with, if failures count. */
export type ConditionResult =
  | { readonly kind: 'yes' }
  | { readonly kind: 'no' }
  | { readonly kind: 'error'; readonly message: string };

/** One that is false settles it, whatever became of the others. */
export function judgeConditions(
  conditions: readonly Expression[],
  variables: Readonly<Record<string, unknown>>,
  { expressions, ignoresFailure }: ConditionRules,
): ConditionResult {
  const failures: string[] = [];
  for (const condition of conditions)
    try {
      if (condition.run(variables) === false) return { kind: 'no' };
    } catch (error) {
      failures.push(expressions.failureText(condition, error));
    }
  if (failures.length === 0) return { kind: 'yes' };
  if (ignoresFailure) return { kind: 'no' };
  const message = failures.length === 1 ? (failures[0] ?? '') : `[${failures.join(', ')}]`;
  return { kind: 'error', message };
}

export interface ConditionRules {
  readonly expressions: AdmissionExpressions;
  readonly ignoresFailure: boolean;
}
