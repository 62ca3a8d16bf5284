// Patterns by RE2, as Kubernetes has them: their time grows with the text's length, never more.
// Rules by CEL, counted.
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import type { FieldError } from '#kube/machinery/field.ts';
import { createPatterns } from '../../cel/patterns.ts';
import { CelRules, type RuleChecker } from './cel-rules.ts';

export interface RuleEngine {
  /** Throws an Error for what is no pattern. */
  matches(pattern: string, text: string): boolean;
  /** Checks expressions that stand at a schema, against its types. */
  checker(schema: JSONSchemaProps, isRoot: boolean): RuleChecker;
  /** All rules of the schema, over an object that is otherwise legal. */
  validateRules(schema: JSONSchemaProps, object: unknown, old: unknown): FieldError[];
}

export function createRuleEngine(): RuleEngine {
  const patterns = createPatterns();
  const rules = new CelRules(patterns);
  return {
    matches: (pattern, text) => patterns.matches(pattern, text),
    checker: (schema, isRoot) => rules.checker(schema, isRoot),
    validateRules: (schema, object, old) => rules.validate(schema, object, old),
  };
}
