// What every expression of the API may use: Kubernetes' functions over CEL's own, patterns by RE2 (their
// time grows with the text's length, never more), each step counted.
// Source: kubernetes apiserver pkg/cel/environment/base.go.
import { RE2JS } from '@bufbuild/re2';
import { Environment } from '@marcbachmann/cel-js';
import type { Budget } from './budget.ts';
import { registerFunctions } from './functions.ts';

const maxPatterns = 1000;

/** Throws an Error for what is no pattern. */
export type Matches = (pattern: string, text: string) => boolean;

export function createMatcher(): Matches {
  const compiled = new Map<string, RE2JS>();
  return (pattern, text) => {
    let expression = compiled.get(pattern);
    if (expression === undefined) {
      expression = new RE2JS(pattern);
      if (compiled.size >= maxPatterns) compiled.clear();
      compiled.set(pattern, expression);
    }
    return expression.test(text);
  };
}

/** `variables` are of any type: what is not there shows when the expression runs. */
export function createEnvironment(
  budget: Budget,
  matches: Matches,
  variables: readonly string[],
): Environment {
  const env = new Environment({
    unlistedVariablesAreDyn: false,
    enableOptionalTypes: true,
    homogeneousAggregateLiterals: false,
  });
  for (const name of variables) env.registerVariable(name, 'dyn');
  registerFunctions(env, { budget, matches });
  return env;
}
