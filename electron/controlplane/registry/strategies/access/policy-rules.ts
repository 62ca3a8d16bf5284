// What validating and mutating policies have in common: where they hold, when, their params and variables.
// Source: kubernetes pkg/apis/admissionregistration/validation/validation.go.
import type {
  MatchCondition,
  MatchResources,
  ParamKind,
  ParamRef,
  Variable,
} from '#kube/api/admissionregistration.ts';
import {
  duplicate,
  forbidden,
  invalid,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { isDns1123Subdomain } from '#kube/machinery/names.ts';
import type { TypeScope } from '../../../cel/engine.ts';
import { validateLabelSelector } from '../selector-rules.ts';
import { asGiven, check, checkChoice } from '../text-rules.ts';
import {
  checkExpression,
  failurePolicies,
  validateConditions,
  validateMatch,
} from './admission-rules.ts';

export interface Scopes {
  readonly policy: TypeScope;
  readonly message?: TypeScope;
  readonly mutation?: TypeScope;
  readonly known: ReadonlySet<string>;
}

interface PolicySpec {
  readonly failurePolicy?: string;
  readonly paramKind?: ParamKind;
  readonly matchConstraints?: MatchResources;
  readonly matchConditions?: readonly MatchCondition[];
  readonly variables?: readonly Variable[];
}

/** From then on the scopes know the policy's variables. */
export function validateWhereAndWhen(
  spec: PolicySpec,
  path: FieldPath,
  { scopes, operations }: { readonly scopes: Scopes; readonly operations?: readonly string[] },
): FieldError[] {
  const { paramKind, matchConstraints } = spec;
  const errors = checkChoice(path.child('failurePolicy'), spec.failurePolicy, failurePolicies);
  if (paramKind !== undefined)
    for (const name of ['apiVersion', 'kind'] as const)
      if ((paramKind[name] ?? '') === '') errors.push(required(path.child('paramKind', name), ''));
  const at = path.child('matchConstraints');
  if (matchConstraints === undefined) errors.push(required(at, ''));
  else {
    errors.push(...validateMatch(matchConstraints, at, operations));
    if ((matchConstraints.resourceRules ?? []).length === 0)
      errors.push(required(at.child('resourceRules'), ''));
  }
  const { policy: scope, known } = scopes;
  return [
    ...errors,
    ...validateConditions(spec.matchConditions ?? [], path.child('matchConditions'), {
      scope,
      known,
    }),
    ...validateVariables(spec.variables ?? [], path.child('variables'), scopes),
  ];
}

function validateVariables(
  variables: readonly { readonly name: string; readonly expression: string }[],
  path: FieldPath,
  { policy, message, mutation, known }: Scopes,
): FieldError[] {
  const seen = new Set<string>();
  return variables.flatMap((variable, index) => {
    const { name = '', expression = '' } = asGiven(variable);
    const at = path.index(index);
    const errors: FieldError[] = [];
    if (name === '') errors.push(required(at.child('name'), 'name is not specified'));
    else if (!/^[_a-zA-Z][_a-zA-Z0-9]*$/.test(name))
      errors.push(invalid(at.child('name'), name, 'name is not a valid CEL identifier'));
    if (name !== '' && seen.has(name)) errors.push(duplicate(at.child('name'), name));
    seen.add(name);
    if (expression.trim() === '')
      errors.push(required(at.child('expression'), 'expression is not specified'));
    errors.push(...checkExpression(expression, at.child('expression'), { scope: policy, known }));
    for (const scope of [policy, message, mutation]) scope?.add(name, expression);
    return errors;
  });
}

interface BindingSpec {
  readonly policyName?: string;
  readonly paramRef?: ParamRef;
  readonly matchResources?: MatchResources;
}

export function validateBound(spec: BindingSpec, path: FieldPath): FieldError[] {
  const { policyName = '', paramRef, matchResources } = spec;
  return [
    ...(policyName === ''
      ? [required(path.child('policyName'), '')]
      : check(path.child('policyName'), policyName, isDns1123Subdomain(policyName))),
    ...(paramRef === undefined ? [] : validateParamRef(paramRef, path.child('paramRef'))),
    ...(matchResources === undefined
      ? []
      : validateMatch(matchResources, path.child('matchResources'))),
  ];
}

function validateParamRef(paramRef: ParamRef, path: FieldPath): FieldError[] {
  const { name = '', namespace = '', selector, parameterNotFoundAction } = paramRef;
  const errors: FieldError[] = [];
  if (name !== '') errors.push(...check(path.child('name'), name, isDns1123Subdomain(name)));
  if (name !== '' && selector !== undefined)
    errors.push(forbidden(path.child('name'), 'name and selector are mutually exclusive'));
  if (name === '' && selector === undefined)
    errors.push(required(path, 'one of name or selector must be specified'));
  if (namespace !== '')
    errors.push(...check(path.child('namespace'), namespace, isDns1123Subdomain(namespace)));
  if (selector !== undefined)
    errors.push(...validateLabelSelector(selector, path.child('selector')));
  const at = path.child('parameterNotFoundAction');
  return [...errors, ...checkChoice(at, parameterNotFoundAction, ['Allow', 'Deny'])];
}
