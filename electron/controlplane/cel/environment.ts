// What every expression of the API may use: Kubernetes' functions over CEL's own, patterns by RE2 (their
// time grows with the text's length, never more), each step counted.
// Source: kubernetes apiserver pkg/cel/environment/base.go.
import { Environment } from '@marcbachmann/cel-js';
import type { Budget } from './budget.ts';
import { registerFunctions } from './functions.ts';
import type { Patterns } from './patterns.ts';
import { teachSyntax } from './syntax.ts';

/** `variables` are of any type: what is not there shows when the expression runs. */
export function createEnvironment(
  budget: Budget,
  patterns: Patterns,
  variables: readonly string[],
): Environment {
  teachSyntax();
  const env = new Environment({
    unlistedVariablesAreDyn: false,
    enableOptionalTypes: true,
    homogeneousAggregateLiterals: false,
  });
  for (const name of variables) env.registerVariable(name, 'dyn');
  registerFunctions(env, { budget, patterns });
  return env;
}
