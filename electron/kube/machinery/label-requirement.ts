// One requirement of a label selector: what is legal, when it holds, how it is written.
// Source: kubernetes apimachinery pkg/labels/selector.go (Requirement).
import { unreachable } from '../base/assert.ts';
import { field, fieldErrorText, invalid, type FieldError, type FieldPath } from './field.ts';
import { isLabelValue, isQualifiedName } from './names.ts';
import { badRequest } from './status.ts';

export type Labels = Readonly<Record<string, string>>;

export type LabelOperator = '=' | '==' | '!=' | 'in' | 'notin' | 'exists' | '!' | 'gt' | 'lt';

export interface LabelRequirement {
  readonly key: string;
  readonly operator: LabelOperator;
  /** Sorted, without repetition. */
  readonly values: readonly string[];
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

export function keyError(key: string, path: FieldPath): FieldError | undefined {
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

/** Whether `labels` meet the requirement. */
export function holds(requirement: LabelRequirement, labels: Labels): boolean {
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

/** The text form, such as `tier in (a,b)`. */
export function requirementText(requirement: LabelRequirement): string {
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
