// Patterns by RE2, as Kubernetes has them: their time grows with the text's length, never more.
// Rules by CEL, counted.
import { RE2JS } from '@bufbuild/re2';
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import type { FieldError } from '#kube/machinery/field.ts';
import { CelRules } from './cel-rules.ts';

export interface RuleEngine {
  /** Throws an Error for what is no pattern. */
  matches(pattern: string, text: string): boolean;
  /** Throws an Error for what is no expression. */
  checkExpression(text: string): { readonly usesOldSelf: boolean };
  /** All rules of the schema, over an object that is otherwise legal. */
  validateRules(schema: JSONSchemaProps, object: unknown, old: unknown): FieldError[];
}

const maxPatterns = 1000;

export function createRuleEngine(): RuleEngine {
  const compiled = new Map<string, RE2JS>();
  function matches(pattern: string, text: string): boolean {
    let expression = compiled.get(pattern);
    if (expression === undefined) {
      expression = new RE2JS(pattern);
      if (compiled.size >= maxPatterns) compiled.clear();
      compiled.set(pattern, expression);
    }
    return expression.test(text);
  }
  const rules = new CelRules(matches);
  return {
    matches,
    checkExpression: (text) => rules.compile(text),
    validateRules: (schema, object, old) => rules.validate(schema, object, old),
  };
}
