// Label selectors: matching, the text form of URLs, and the object form of specs.
// Parsing the text lives in selector-parser.ts.
// Source: kubernetes apimachinery pkg/labels/selector.go, pkg/apis/meta/v1/helpers.go.
import type { LabelSelector } from '../api/meta.ts';
import { unreachable } from '../base/assert.ts';
import { field, invalid, fieldErrorText, type FieldError } from './field.ts';
import { isLabelValue, isQualifiedName } from './names.ts';
import { parseRequirements } from './selector-parser.ts';
import { badRequest } from './status.ts';

export type Labels = Readonly<Record<string, string>>;

export type LabelOperator = '=' | '==' | '!=' | 'in' | 'notin' | 'exists' | '!' | 'gt' | 'lt';

export interface LabelRequirement {
  readonly key: string;
  readonly operator: LabelOperator;
  /** Sorted, without repetition. */
  readonly values: readonly string[];
}

export interface LabelMatcher {
  /** Absent labels are no labels. */
  matches(labels: Labels | undefined): boolean;
  /** The text form; parsing it gives an equal matcher. '' selects everything. */
  toString(): string;
  /** True when it selects every object. */
  readonly isEverything: boolean;
  /** Undefined for the matcher of no object at all. */
  readonly requirements: readonly LabelRequirement[] | undefined;
}

/** Selects everything. */
export const everything: LabelMatcher = matcherOf([]);

/** Selects nothing: what an absent LabelSelector means. */
export const nothing: LabelMatcher = {
  matches: () => false,
  toString: () => '',
  isEverything: false,
  requirements: undefined,
};

/** Parses `app=web,tier in (a,b),!old`. Throws 400 with Kubernetes' message. */
export function parseLabelSelector(text: string): LabelMatcher {
  return matcherOf(parseRequirements(text));
}

/** A spec's selector: undefined selects nothing, an empty one everything. Throws 400 if illegal. */
export function labelSelectorMatcher(selector: LabelSelector | undefined): LabelMatcher {
  if (selector === undefined) return nothing;
  const requirements = Object.entries(selector.matchLabels ?? {}).map(([key, value]) =>
    makeRequirement(key, '=', [value]),
  );
  for (const expression of selector.matchExpressions ?? []) {
    const operator = expressionOperators.get(expression.operator);
    if (operator === undefined)
      throw badRequest(`"${expression.operator}" is not a valid label selector operator`);
    requirements.push(makeRequirement(expression.key, operator, expression.values ?? []));
  }
  return matcherOf(requirements);
}

/** One question without keeping a matcher; for many objects make the matcher once. */
export function matchesLabelSelector(
  selector: LabelSelector | undefined,
  labels?: Labels,
): boolean {
  return labelSelectorMatcher(selector).matches(labels);
}

/** A plain map of labels as a selector (Service, ReplicationController): all must be equal. */
export function labelsMatcher(labels: Labels): LabelMatcher {
  const requirements = Object.entries(labels).map(([key, value]) => ({
    key,
    operator: '=' as const,
    values: [value],
  }));
  return matcherOf(requirements);
}

/** A LabelSelector in text form, as in Scale's status.selector. */
export function formatLabelSelector(selector: LabelSelector | undefined): string {
  return labelSelectorMatcher(selector).toString();
}

const expressionOperators: ReadonlyMap<string, LabelOperator> = new Map([
  ['In', 'in'],
  ['NotIn', 'notin'],
  ['Exists', 'exists'],
  ['DoesNotExist', '!'],
]);

function matcherOf(given: readonly LabelRequirement[]): LabelMatcher {
  const requirements = given.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  return {
    matches: (labels = {}) => requirements.every((requirement) => holds(requirement, labels)),
    toString: () => requirements.map(requirementText).join(','),
    isEverything: requirements.length === 0,
    requirements,
  };
}

/** One requirement, checked. Throws 400 with Kubernetes' message. */
export function makeRequirement(
  key: string,
  operator: LabelOperator,
  values: readonly string[],
): LabelRequirement {
  const sorted = [...new Set(values)].toSorted();
  const error = keyError(key, field('key')) ?? valuesError(key, operator, sorted);
  if (error !== undefined) throw badRequest(fieldErrorText(error));
  return { key, operator, values: sorted };
}

export function keyError(key: string, path: ReturnType<typeof field>): FieldError | undefined {
  const messages = isQualifiedName(key);
  return messages.length === 0 ? undefined : invalid(path, key, messages.join('; '));
}

function valuesError(
  key: string,
  operator: LabelOperator,
  values: readonly string[],
): FieldError | undefined {
  const path = field('values');
  const wrongCount = countMessage(operator, values.length);
  if (wrongCount !== undefined) return invalid(path, values, wrongCount);
  for (const [index, value] of values.entries()) {
    if ((operator === 'gt' || operator === 'lt') && integerOf(value) === undefined)
      return invalid(
        path.index(index),
        value,
        "for 'Gt', 'Lt' operators, the value must be an integer",
      );
    const messages = isLabelValue(value);
    if (messages.length > 0) return invalid(path.index(index).key(key), value, messages.join('; '));
  }
  return undefined;
}

function countMessage(operator: LabelOperator, count: number): string | undefined {
  switch (operator) {
    case 'in':
    case 'notin':
      return count > 0 ? undefined : "for 'in', 'notin' operators, values set can't be empty";
    case '=':
    case '==':
    case '!=':
      return count === 1 ? undefined : 'exact-match compatibility requires one single value';
    case 'exists':
    case '!':
      return count === 0 ? undefined : 'values set must be empty for exists and does not exist';
    case 'gt':
    case 'lt':
      return count === 1 ? undefined : "for 'Gt', 'Lt' operators, exactly one value is required";
    default:
      return unreachable(operator);
  }
}

function holds(requirement: LabelRequirement, labels: Labels): boolean {
  const { key, operator, values } = requirement;
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case '=':
    case '==':
    case 'in':
      return value !== undefined && values.includes(value);
    case '!=':
    case 'notin':
      return value === undefined || !values.includes(value);
    case 'exists':
      return value !== undefined;
    case '!':
      return value === undefined;
    case 'gt':
    case 'lt':
      return isOrdered(operator, value, values[0]);
    default:
      return unreachable(operator);
  }
}

function isOrdered(operator: 'gt' | 'lt', value = '', bound = ''): boolean {
  const [left, right] = [integerOf(value), integerOf(bound)];
  if (left === undefined || right === undefined) return false;
  return operator === 'gt' ? left > right : left < right;
}

function integerOf(text: string): bigint | undefined {
  return /^[+-]?\d{1,19}$/.test(text) ? BigInt(text.replace(/^\+/, '')) : undefined;
}

function requirementText(requirement: LabelRequirement): string {
  const { key, operator, values } = requirement;
  switch (operator) {
    case 'exists':
      return key;
    case '!':
      return `!${key}`;
    case 'in':
    case 'notin':
      // Differs: Kubernetes prints a lone empty value as `()`, which it can't read back.
      return `${key} ${operator} (${values.join(',') || ','})`;
    case 'gt':
      return `${key}>${values.join('')}`;
    case 'lt':
      return `${key}<${values.join('')}`;
    case '=':
    case '==':
    case '!=':
      return `${key}${operator}${values.join('')}`;
    default:
      return unreachable(operator);
  }
}
