// Which requests a webhook or a policy is asked about.
// Source: kubernetes pkg/apis/admissionregistration/{v1/defaults.go,validation/validation.go}.
import type {
  MatchCondition,
  MatchResources,
  RuleWithOperations,
} from '#kube/api/admissionregistration.ts';
import {
  duplicate,
  invalid,
  notSupported,
  required,
  tooMany,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { admissionExpressions, type TypeScope } from '../../../cel/engine.ts';
import { isQualifiedName } from '#kube/machinery/names.ts';
import { validateLabelSelector } from '../selector-rules.ts';
import { asGiven, check } from '../text-rules.ts';

export const failurePolicies = ['Fail', 'Ignore'];
const matchPolicies = ['Equivalent', 'Exact'];
const allOperations = ['*', 'CONNECT', 'CREATE', 'DELETE', 'UPDATE'];
const scopes = ['*', 'Cluster', 'Namespaced'];
const maxConditions = 64;

export function applyRuleDefaults(rules: readonly { scope?: string }[] | undefined): void {
  for (const rule of rules ?? []) rule.scope ??= '*';
}

export function applyMatchDefaults(match: MatchResources | undefined): void {
  if (match === undefined) return;
  match.matchPolicy ??= 'Equivalent';
  match.namespaceSelector ??= {};
  match.objectSelector ??= {};
  applyRuleDefaults(match.resourceRules);
  applyRuleDefaults(match.excludeResourceRules);
}

/** One of a few, if it is given. */
export function optional(
  value: string | undefined,
  supported: readonly string[],
  path: FieldPath,
): FieldError[] {
  return value === undefined || supported.includes(value)
    ? []
    : [notSupported(path, value, supported)];
}

export function validateMatchPolicy(value: string | undefined, path: FieldPath): FieldError[] {
  return optional(value, matchPolicies, path);
}

export function validateRule(
  rule: RuleWithOperations,
  path: FieldPath,
  operations: readonly string[] = allOperations,
): FieldError[] {
  const { operations: given = [], apiGroups = [], apiVersions = [], scope } = rule;
  const at = path.child('operations');
  const wrong = [...given.entries()].filter(([, operation]) => !operations.includes(operation));
  return [
    ...notAlone(given, at, 'operations'),
    ...wrong.map(([index, operation]) => notSupported(at.index(index), operation, operations)),
    ...notAlone(apiGroups, path.child('apiGroups'), 'API groups'),
    ...notAlone(apiVersions, path.child('apiVersions'), 'API versions'),
    ...apiVersions.flatMap((version, index) =>
      version === '' ? [required(path.child('apiVersions').index(index), '')] : [],
    ),
    ...validateResources(rule.resources ?? [], path.child('resources')),
    ...optional(scope, scopes, path.child('scope')),
  ];
}

function notAlone(values: readonly string[], path: FieldPath, what: string): FieldError[] {
  if (values.length === 0) return [required(path, '')];
  return values.length > 1 && values.includes('*')
    ? [invalid(path, values, `if '*' is present, must not specify other ${what}`)]
    : [];
}

function validateResources(resources: readonly string[], path: FieldPath): FieldError[] {
  if (resources.length === 0) return [required(path, '')];
  const whole = new Set<string>();
  const parts = new Set<string>();
  const errors = resources.flatMap((text, index) => {
    if (text === '') return [required(path.index(index), '')];
    const slash = text.indexOf('/');
    if (slash < 0) return [];
    const [resource, subresource] = [text.slice(0, slash), text.slice(slash + 1)];
    const clash = (pattern: string) =>
      invalid(path.index(index), text, `if '${pattern}' is present, must not specify ${text}`);
    const found = [
      ...(whole.has(resource) ? [clash(`${resource}/*`)] : []),
      ...(parts.has(subresource) ? [clash(`*/${subresource}`)] : []),
    ];
    if (subresource === '*') whole.add(resource);
    if (resource === '*') parts.add(subresource);
    return found;
  });
  if (resources.length > 1 && resources.includes('*/*'))
    errors.push(invalid(path, resources, "if '*/*' is present, must not specify other resources"));
  const hasPlain = resources.some((text) => text !== '' && text !== '*' && !text.includes('/'));
  if (resources.includes('*') && hasPlain)
    errors.push(
      invalid(
        path,
        resources,
        "if '*' is present, must not specify other resources without subresources",
      ),
    );
  return errors;
}

export function validateMatch(
  match: MatchResources,
  path: FieldPath,
  operations?: readonly string[],
): FieldError[] {
  const { matchPolicy, namespaceSelector, objectSelector } = match;
  const lists = ['resourceRules', 'excludeResourceRules'] as const;
  return [
    ...optional(matchPolicy, matchPolicies, path.child('matchPolicy')),
    ...validateLabelSelector(namespaceSelector, path.child('namespaceSelector')),
    ...validateLabelSelector(objectSelector, path.child('objectSelector')),
    ...lists.flatMap((name) =>
      (match[name] ?? []).flatMap((rule, index) =>
        validateRule(rule, path.child(name).index(index), operations),
      ),
    ),
  ];
}

/** An expression that was there before is left alone: rules may have become stricter. */
export interface ExpressionRule {
  /** Its surroundings, with the variables that were declared before it. */
  readonly scope: TypeScope;
  readonly types?: readonly string[];
  readonly known: ReadonlySet<string>;
}

export function checkExpression(
  text: string,
  path: FieldPath,
  { scope, types, known }: ExpressionRule,
): FieldError[] {
  if (text.trim() === '' || known.has(text)) return [];
  const complaint = admissionExpressions().complaint(text, scope, types);
  return complaint === undefined ? [] : [invalid(path, text, complaint)];
}

/** `expressions`: of what surrounds them. They are loaded. */
export function validateConditions(
  conditions: readonly MatchCondition[],
  path: FieldPath,
  expressions: Pick<ExpressionRule, 'scope' | 'known'>,
): FieldError[] {
  const seen = new Set<string>();
  const errors = conditions.flatMap((condition, index) => {
    const { name = '', expression = '' } = asGiven(condition);
    const at = path.index(index);
    const found =
      name === ''
        ? [required(at.child('name'), '')]
        : check(at.child('name'), name, isQualifiedName(name));
    if (expression.trim() === '') found.push(required(at.child('expression'), ''));
    found.push(
      ...checkExpression(expression, at.child('expression'), { ...expressions, types: ['bool'] }),
    );
    if (name !== '' && seen.has(name)) found.push(duplicate(at.child('name'), name));
    seen.add(name);
    return found;
  });
  if (conditions.length > maxConditions)
    errors.unshift(tooMany(path, conditions.length, maxConditions));
  return errors;
}
