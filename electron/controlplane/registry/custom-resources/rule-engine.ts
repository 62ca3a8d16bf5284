// Patterns by RE2, as Kubernetes has them: their time grows with the text's length, never more.
// Rules by CEL, counted.
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import type { FieldError } from '#kube/machinery/field.ts';
import { createPatterns } from '../../cel/patterns.ts';
import { CelRules } from './cel-rules.ts';

export interface RuleEngine {
  /** Throws an Error for what is no pattern. */
  matches(pattern: string, text: string): boolean;
  /** Throws an Error for what is no expression. */
  checkExpression(text: string): { readonly usesOldSelf: boolean };
  /** All rules of the schema, over an object that is otherwise legal. */
  validateRules(schema: JSONSchemaProps, object: unknown, old: unknown): FieldError[];
}

export function createRuleEngine(): RuleEngine {
  const patterns = createPatterns();
  const rules = new CelRules(patterns);
  return {
    matches: (pattern, text) => patterns.matches(pattern, text),
    checkExpression: (text) => rules.compile(text),
    validateRules: (schema, object, old) => rules.validate(schema, object, old),
  };
}
