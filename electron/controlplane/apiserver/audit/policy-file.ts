// The file of --audit-policy: YAML or JSON, audit.k8s.io/v1 Policy as Kubernetes' own flag takes it.
// Anything it does not know is refused: a rule that is misspelt would leave something out silently.
// Source: kubernetes apiserver pkg/audit/policy/reader.go, pkg/apis/audit/validation.
import { readFile } from 'node:fs/promises';
import { levels, stages, type AuditPolicy } from './policy.ts';

/** Its message is a sentence for a person. */
export class AuditPolicyError extends Error {
  override readonly name = 'AuditPolicyError';
}

/** Throws AuditPolicyError. */
export async function readAuditPolicy(file: string): Promise<AuditPolicy> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new AuditPolicyError(
      `--audit-policy ${file} can't be read: ${(cause as Error).message}.`,
      { cause },
    );
  }
  const { parse } = await import('yaml');
  try {
    return parseAuditPolicy(parse(text));
  } catch (cause) {
    const [why = ''] = (cause as Error).message.split('\n');
    throw new AuditPolicyError(`--audit-policy ${file} is no audit policy: ${why}`, { cause });
  }
}

/** Throws an Error that says where and what. */
export function parseAuditPolicy(value: unknown): AuditPolicy {
  const policy = recordOf(value, 'the file', {
    apiVersion: oneOf(['audit.k8s.io/v1']),
    kind: oneOf(['Policy']),
    metadata: () => undefined,
    omitStages: listOf(oneOf(stages)),
    omitManagedFields: isBoolean,
    rules: listOf(checkRule),
  });
  for (const name of ['apiVersion', 'kind'])
    if (policy[name] === undefined) throw new Error(`${name} is missing`);
  const { rules } = policy as Partial<AuditPolicy>;
  if (rules === undefined || rules.length === 0)
    throw new Error('loaded illegal policy with 0 rules');
  return policy as unknown as AuditPolicy;
}

type Check = (value: unknown, path: string) => void;

function checkRule(value: unknown, path: string): void {
  const { level, resources, namespaces, nonResourceURLs } = recordOf(value, path, {
    level: oneOf(levels),
    users: listOf(isText),
    userGroups: listOf(isText),
    verbs: listOf(isText),
    resources: listOf(checkGroup),
    namespaces: listOf(isText),
    nonResourceURLs: listOf(checkUrl),
    omitStages: listOf(oneOf(stages)),
    omitManagedFields: isBoolean,
  });
  if (level === undefined) throw new Error(`${path}.level: Required value`);
  if (lengthOf(nonResourceURLs) > 0 && lengthOf(resources) + lengthOf(namespaces) > 0)
    throw new Error(
      `${path}.nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs`,
    );
}

function checkGroup(value: unknown, path: string): void {
  const { group, resources, resourceNames } = recordOf(value, path, {
    group: isText,
    resources: listOf(isText),
    resourceNames: listOf(isText),
  });
  if (typeof group === 'string' && group.includes('/'))
    throw new Error(`${path}.group: "${group}" is no API group: leave its version out`);
  if (lengthOf(resourceNames) > 0 && lengthOf(resources) === 0)
    throw new Error(`${path}.resourceNames: using resourceNames requires at least one resource`);
}

function checkUrl(value: unknown, path: string): void {
  isText(value, path);
  const url = String(value);
  if (url !== '*' && !url.startsWith('/'))
    throw new Error(`${path}: non-resource URL rules must begin with a '/' character`);
  if (url.slice(0, -1).includes('*'))
    throw new Error(
      `${path}: non-resource URL wildcards '*' must be the final character of the rule`,
    );
}

function recordOf(
  value: unknown,
  path: string,
  fields: Readonly<Record<string, Check>>,
): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`${path} has to be a mapping`);
  for (const [name, one] of Object.entries(value)) {
    const check = Object.hasOwn(fields, name) ? fields[name] : undefined;
    const at = path === 'the file' ? name : `${path}.${name}`;
    if (check === undefined) throw new Error(`unknown field ${at}`);
    if (one !== null) check(one, at);
  }
  const given = Object.entries(value as Record<string, unknown>).filter(([, one]) => one !== null);
  return Object.fromEntries(given);
}

function listOf(check: Check): Check {
  return (value, path) => {
    if (!Array.isArray(value)) throw new Error(`${path} has to be a list`);
    for (const [index, one] of value.entries()) check(one, `${path}[${index}]`);
  };
}

function oneOf(allowed: readonly string[]): Check {
  return (value, path) => {
    if (typeof value === 'string' && allowed.includes(value)) return;
    const choices = allowed.map((one) => `"${one}"`).join(', ');
    throw new Error(
      `${path}: Unsupported value: ${JSON.stringify(value)}: supported values: ${choices}`,
    );
  };
}

function isText(value: unknown, path: string): void {
  if (typeof value !== 'string') throw new Error(`${path} has to be a text`);
}

function isBoolean(value: unknown, path: string): void {
  if (typeof value !== 'boolean') throw new Error(`${path} has to be true or false`);
}

function lengthOf(value: unknown): number {
  return Array.isArray(value) ? value.length : 0;
}
