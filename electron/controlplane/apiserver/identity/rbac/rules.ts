// What a rule of RBAC covers: a request, or another rule. Pure, and the same for Roles,
// ClusterRoles and what somebody wants to grant.
// Source: kubernetes pkg/apis/rbac/v1/evaluation_helpers.go,
// component-helpers/auth/rbac/validation/policy_comparator.go.
import type { PolicyRule } from '#kube/api/rbac.ts';
import type { AuthorizationAttributes } from '../authorizer.ts';

const none: readonly string[] = [];

export function covers(rule: PolicyRule, attributes: AuthorizationAttributes): boolean {
  if (!includes(rule.verbs, attributes.verb)) return false;
  if (!attributes.isResourceRequest)
    return (rule.nonResourceURLs ?? none).some((pattern) => coversPath(pattern, attributes.path));
  const { resourceNames = none } = rule;
  return (
    includes(rule.apiGroups ?? none, attributes.group) &&
    coversResource(rule.resources ?? none, attributes) &&
    (resourceNames.length === 0 || resourceNames.includes(attributes.name))
  );
}

function includes(list: readonly string[], value: string): boolean {
  return list.includes(value) || list.includes('*');
}

/** `*` covers subresources, too; `pods` does not cover `pods/log`, but `*` + `/log` does. */
function coversResource(
  list: readonly string[],
  { resource, subresource }: AuthorizationAttributes,
): boolean {
  if (subresource === '') return includes(list, resource);
  return list.some(
    (entry) =>
      entry === '*' ||
      (entry.length === resource.length + subresource.length + 1 &&
        entry.endsWith(subresource) &&
        entry === `${resource}/${subresource}`) ||
      (entry.startsWith('*/') && entry.slice(2) === subresource),
  );
}

function coversPath(pattern: string, path: string): boolean {
  return pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : pattern === path;
}

/** What of `wanted` no rule of `held` covers, in pieces of one verb and one resource or path. */
export function uncovered(
  held: readonly PolicyRule[],
  wanted: readonly PolicyRule[],
): readonly PolicyRule[] {
  return wanted
    .filter((rule) => !held.some((owner) => coversRule(owner, rule)))
    .flatMap(pieces)
    .filter((piece) => !held.some((owner) => coversRule(owner, piece)));
}

function coversRule(owner: PolicyRule, rule: PolicyRule): boolean {
  const ownerNames = owner.resourceNames ?? none;
  const names = rule.resourceNames ?? none;
  const hasNames =
    ownerNames.length === 0 || (names.length > 0 && names.every((n) => ownerNames.includes(n)));
  return (
    hasNames &&
    rule.verbs.every((verb) => includes(owner.verbs, verb)) &&
    (rule.apiGroups ?? none).every((group) => includes(owner.apiGroups ?? none, group)) &&
    (rule.resources ?? none).every((entry) => grantsResource(owner.resources ?? none, entry)) &&
    (rule.nonResourceURLs ?? none).every((url) =>
      (owner.nonResourceURLs ?? none).some((pattern) => coversPath(pattern, url)),
    )
  );
}

function grantsResource(list: readonly string[], entry: string): boolean {
  if (includes(list, entry)) return true;
  const slash = entry.indexOf('/');
  return slash >= 0 && list.includes(`*${entry.slice(slash)}`);
}

function pieces(rule: PolicyRule): PolicyRule[] {
  const { verbs, apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [] } = rule;
  const ofPaths = nonResourceURLs.flatMap((url) =>
    verbs.map((verb) => ({ verbs: [verb], nonResourceURLs: [url] })),
  );
  const ofResources = apiGroups.flatMap((group) =>
    resources.flatMap((resource) =>
      verbs.flatMap((verb) => {
        const piece = { verbs: [verb], apiGroups: [group], resources: [resource] };
        return resourceNames.length === 0
          ? [piece]
          : resourceNames.map((name) => ({ ...piece, resourceNames: [name] }));
      }),
    ),
  );
  return [...ofResources, ...ofPaths];
}

/** Pieces that differ in their verb only become one rule. */
export function compact(rules: readonly PolicyRule[]): PolicyRule[] {
  const byTarget = new Map<string, PolicyRule>();
  for (const { verbs, ...target } of rules) {
    const key = JSON.stringify([
      target.apiGroups,
      target.resources,
      target.resourceNames,
      target.nonResourceURLs,
    ]);
    const known = byTarget.get(key);
    if (known === undefined) byTarget.set(key, { ...target, verbs: [...verbs] });
    else for (const verb of verbs) if (!known.verbs.includes(verb)) known.verbs.push(verb);
  }
  return [...byTarget.values()];
}

/** As Go prints it: `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`. */
export function ruleText(rule: PolicyRule): string {
  const parts: readonly (readonly [name: string, list: readonly string[] | undefined])[] = [
    ['APIGroups', rule.apiGroups],
    ['Resources', rule.resources],
    ['NonResourceURLs', rule.nonResourceURLs],
    ['ResourceNames', rule.resourceNames],
    ['Verbs', rule.verbs],
  ];
  return `{${parts
    .filter(([, list = none]) => list.length > 0)
    .map(([name, list = none]) => `${name}:${quotedList(list)}`)
    .join(', ')}}`;
}

/** `["a" "b"]`. */
export function quotedList(list: readonly string[]): string {
  return `[${list.map((entry) => JSON.stringify(entry)).join(' ')}]`;
}
