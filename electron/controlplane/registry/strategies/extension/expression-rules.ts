// The rules in CEL of a custom resource's schema: they fit its types, and can't cost too much.
// Source: kubernetes apiextensions-apiserver pkg/apis/apiextensions/validation/{validation,cel_validation}.go.
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import {
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { costComplaint, expressionCostLimit, schemaCostLimit } from '../../../cel/cost.ts';
import { maxOccurrences } from '../../../cel/sizes.ts';
import type { RuleEngine } from '../../custom-resources/engine.ts';
import { asGiven } from '../text-rules.ts';

export interface ExpressionPlace {
  readonly checker: RuleEngine['checker'];
  /** The schema was there before, and what is asked of expressions may have become stricter. */
  readonly isKnown: boolean;
  readonly level: 'root' | 'field' | 'item';
  /** How often the place can be there by the bounds of lists and maps; undefined: nothing bounds it. */
  readonly cardinality: number | undefined;
  readonly costs: ExpressionCost[];
}

export interface ExpressionCost {
  readonly path: FieldPath;
  readonly cost: number;
}

const reasons = [
  'FieldValueInvalid',
  'FieldValueForbidden',
  'FieldValueRequired',
  'FieldValueDuplicate',
];

export function validateRules(
  schema: JSONSchemaProps,
  path: FieldPath,
  { checker, isKnown, level, cardinality, costs }: ExpressionPlace,
): FieldError[] {
  const errors: FieldError[] = [];
  const rules = schema['x-kubernetes-validations'] ?? [];
  if (rules.length === 0 || isKnown) return errors;
  const judge = checker(schema, level === 'root');
  const cost = { each: cardinality ?? maxOccurrences(schema), costs };
  for (const [index, rule] of rules.entries()) {
    const at = path.child('x-kubernetes-validations').index(index);
    const { rule: text = '', message, messageExpression, reason, fieldPath } = asGiven(rule);
    if (text.trim() === '') errors.push(required(at.child('rule'), 'rule is not specified'));
    else
      errors.push(
        ...checkExpression(text, at.child('rule'), {
          judge: () => judge(rule, text),
          cost,
          what: 'estimated rule cost',
          type: 'bool',
          otherwise: 'cel expression must evaluate to a bool',
        }),
      );
    if (messageExpression !== undefined)
      errors.push(
        ...checkExpression(messageExpression, at.child('messageExpression'), {
          judge: () => judge(rule, messageExpression),
          cost,
          what: 'estimated messageExpression cost',
          type: 'string',
          otherwise: 'messageExpression must evaluate to a string',
        }),
      );
    if (message !== undefined && message.trim() === '')
      errors.push(invalid(at.child('message'), message, 'message must be non-empty if specified'));
    if (message?.trim().includes('\n') === true)
      errors.push(invalid(at.child('message'), message, 'message must not contain line breaks'));
    if (reason !== undefined && !reasons.includes(reason))
      errors.push(notSupported(at.child('reason'), reason, reasons));
    if (fieldPath !== undefined && !/^(?:\.[A-Za-z_][\w-]*|\['[^']*'\])+$/.test(fieldPath))
      errors.push(invalid(at.child('fieldPath'), fieldPath, 'fieldPath must be a valid path'));
  }
  return errors;
}

interface WantedType {
  /** Throws an Error for what is no expression. */
  readonly judge: () => ReturnType<ReturnType<RuleEngine['checker']>>;
  /** How often it is evaluated at most. */
  readonly cost: { readonly each: number; readonly costs: ExpressionCost[] };
  readonly what: string;
  readonly type: string;
  readonly otherwise: string;
}

function checkExpression(
  text: string,
  path: FieldPath,
  { judge, cost, what, type, otherwise }: WantedType,
): FieldError[] {
  try {
    const found = judge();
    if (found.type !== type && found.type !== 'dyn') return [invalid(path, text, otherwise)];
    const total = found.cost * cost.each;
    cost.costs.push({ path, cost: total });
    return total > expressionCostLimit
      ? [forbidden(path, costComplaint(what, total, expressionCostLimit))]
      : [];
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return [invalid(path, text, `compilation failed: ${why}`)];
  }
}

/** Of the most expensive ones. */
const toldCosts = 4;

export function validateTotalCost(costs: readonly ExpressionCost[], path: FieldPath): FieldError[] {
  const total = costs.reduce((sum, { cost }) => sum + cost, 0);
  if (total <= schemaCostLimit) return [];
  const most = costs.toSorted((a, b) => b.cost - a.cost).slice(0, toldCosts);
  const why =
    'contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema';
  const what = 'x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema';
  return [
    ...most.map(({ path: at }) => forbidden(at, why)),
    forbidden(path, costComplaint(what, total, schemaCostLimit)),
  ];
}
