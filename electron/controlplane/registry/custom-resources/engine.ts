// What evaluates patterns and expressions of custom resources: loaded when the first schema needs it,
// since it is large and most clusters' start has no time for it.
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import { assert } from '#kube/base/assert.ts';
import type { ValueContext } from '#kube/machinery/structural/values.ts';
import type { RuleEngine } from './rule-engine.ts';

export type { RuleEngine } from './rule-engine.ts';

// Like the module it stands for, there is one for the process.
let engine: RuleEngine | undefined;

export async function loadEngine(): Promise<void> {
  if (engine !== undefined) return;
  const { createRuleEngine } = await import('./rule-engine.ts');
  engine ??= createRuleEngine();
}

/** The engine itself; loaded before by whoever needs it. */
export function ruleEngine(): RuleEngine {
  assert(engine, 'the rule engine was loaded before it is used');
  return engine;
}

/** For values whose schemas were looked at by `needsEngine`. */
export function valueContext(): ValueContext {
  return { matches: (pattern, text) => ruleEngine().matches(pattern, text) };
}

const expressive = new WeakMap<JSONSchemaProps, boolean>();

/** Whether there is a rule anywhere in the schema. */
export function hasExpressions(schema: JSONSchemaProps): boolean {
  const known = expressive.get(schema);
  if (known !== undefined) return known;
  const own = (schema['x-kubernetes-validations'] ?? []).length > 0;
  const found = own || partsOf(schema).some(hasExpressions);
  expressive.set(schema, found);
  return found;
}

const demanding = new WeakMap<JSONSchemaProps, boolean>();

/** Whether there is a pattern or a rule anywhere in the schema. */
export function needsEngine(schema: JSONSchemaProps): boolean {
  const known = demanding.get(schema);
  if (known !== undefined) return known;
  const found = needsItself(schema) || partsOf(schema).some(needsEngine);
  demanding.set(schema, found);
  return found;
}

function needsItself({ pattern, ...schema }: JSONSchemaProps): boolean {
  return (
    (pattern !== undefined && pattern !== '') ||
    (schema['x-kubernetes-validations'] ?? []).length > 0
  );
}

function partsOf(schema: JSONSchemaProps): JSONSchemaProps[] {
  const {
    properties = {},
    items,
    additionalProperties,
    allOf = [],
    anyOf = [],
    oneOf = [],
  } = schema;
  const parts = [...Object.values(properties), ...allOf, ...anyOf, ...oneOf];
  if (items !== undefined) parts.push(items);
  if (schema.not !== undefined) parts.push(schema.not);
  if (typeof additionalProperties === 'object') parts.push(additionalProperties);
  return parts;
}
