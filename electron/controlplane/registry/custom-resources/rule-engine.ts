// Patterns by RE2, as Kubernetes has them: their time grows with the text's length, never more.
import { RE2JS } from '@bufbuild/re2';

export interface RuleEngine {
  /** Throws an Error for what is no pattern. */
  matches(pattern: string, text: string): boolean;
}

const maxPatterns = 1000;

export function createRuleEngine(): RuleEngine {
  const compiled = new Map<string, RE2JS>();
  return {
    matches(pattern, text) {
      let expression = compiled.get(pattern);
      if (expression === undefined) {
        expression = new RE2JS(pattern);
        if (compiled.size >= maxPatterns) compiled.clear();
        compiled.set(pattern, expression);
      }
      return expression.test(text);
    },
  };
}
