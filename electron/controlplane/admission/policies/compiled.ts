// A policy's expressions, compiled once for as long as the policy stays as it is, and what they make of
// one request.
// Source: kubernetes apiserver pkg/admission/plugin/policy/validating/{plugin,validator}.go.
import type { ValidatingAdmissionPolicy, Validation } from '#kube/api/admissionregistration.ts';
import type { AdmissionExpressions, Expression } from '../../cel/admission.ts';
import { judgeConditions } from '../dynamic/conditions.ts';

export interface CompiledPolicy {
  readonly conditions: readonly Expression[];
  readonly variables: ReadonlyMap<string, Expression>;
  readonly validations: readonly CompiledValidation[];
  readonly annotations: readonly { readonly key: string; readonly value: Expression }[];
}

interface CompiledValidation {
  readonly given: Validation;
  readonly expression: Expression;
  readonly message: Expression | undefined;
}

/** Throws an Error that says which one is wrong, and why. */
export function compilePolicy(
  expressions: AdmissionExpressions,
  { spec }: ValidatingAdmissionPolicy,
): CompiledPolicy {
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
    validations: (spec.validations ?? []).map((given) => ({
      given,
      expression: expressions.compile(given.expression, 'policy', ['bool']),
      message:
        given.messageExpression === undefined
          ? undefined
          : expressions.compile(given.messageExpression, 'message', ['string']),
    })),
    annotations: (spec.auditAnnotations ?? []).map(({ key, valueExpression }) => ({
      key,
      value: expressions.compile(valueExpression, 'message', ['string', 'null']),
    })),
  };
}

/** What the expressions of one policy see; `authorizer` is left out where it must not be asked. */
export type PolicyVariables = Readonly<Record<string, unknown>>;

export interface Denial {
  readonly message: string;
  /** Of the status; '' as the policy's failures have none. */
  readonly reason: string;
  /** Which of the policy's validations. */
  readonly index: number;
}

export interface PolicyResult {
  readonly denials: readonly Denial[];
  /** Failures of annotations, which deny whatever the binding wants done. */
  readonly failures: readonly string[];
  readonly annotations: readonly { readonly key: string; readonly value: string }[];
}

const nothing: PolicyResult = { denials: [], failures: [], annotations: [] };
const maxMessageLength = 5 * 1024;

/** The caller counts what it costs. */
export function evaluatePolicy(
  expressions: AdmissionExpressions,
  policy: CompiledPolicy,
  given: { readonly variables: PolicyVariables; readonly ignoresFailure: boolean },
): PolicyResult {
  const { ignoresFailure } = given;
  const variables = {
    ...given.variables,
    variables: expressions.variables(policy.variables, given.variables),
  };
  const conditions = judgeConditions(policy.conditions, variables, { expressions, ignoresFailure });
  if (conditions.kind === 'no') return nothing;
  if (conditions.kind === 'error')
    return { ...nothing, denials: [{ message: conditions.message, reason: '', index: 0 }] };
  const denials: Denial[] = [];
  for (const [index, { given: validation, expression, message }] of policy.validations.entries())
    try {
      if (expression.run(variables) === true) continue;
      denials.push({
        message: messageOf(validation, message, variables),
        reason: validation.reason ?? 'Invalid',
        index,
      });
    } catch (error) {
      if (ignoresFailure) continue;
      denials.push({ message: expressions.failureText(expression, error), reason: '', index });
    }
  return { denials, ...annotationsOf(expressions, policy, { variables, ignoresFailure }) };
}

function messageOf(
  { message = '', expression }: Validation,
  dynamic: Expression | undefined,
  variables: PolicyVariables,
): string {
  const made = dynamic === undefined ? '' : textOf(dynamic, variables);
  if (made !== '') return made;
  return message.trim() === '' ? `failed expression: ${expression.trim()}` : message.trim();
}

/** '' for what is no message: then the policy's other words are taken. */
function textOf(expression: Expression, variables: PolicyVariables): string {
  try {
    const value = expression.run(variables);
    const text = typeof value === 'string' ? value.trim() : '';
    return text.length > maxMessageLength || text.includes('\n') ? '' : text;
  } catch {
    return '';
  }
}

function annotationsOf(
  expressions: AdmissionExpressions,
  policy: CompiledPolicy,
  {
    variables,
    ignoresFailure,
  }: { readonly variables: PolicyVariables; readonly ignoresFailure: boolean },
): Pick<PolicyResult, 'annotations' | 'failures'> {
  const annotations: { key: string; value: string }[] = [];
  const failures: string[] = [];
  for (const { key, value: expression } of policy.annotations)
    try {
      const value = expression.run(variables);
      if (typeof value === 'string' && value.trim() !== '')
        annotations.push({ key, value: value.trim() });
      else if (value !== null && typeof value !== 'string')
        failures.push(
          `valueExpression '${expression.text}' resulted in unsupported return type: ` +
            `${typeof value}. Return type must be either string or null.`,
        );
    } catch (error) {
      if (!ignoresFailure) failures.push(expressions.failureText(expression, error));
    }
  return { annotations, failures };
}
