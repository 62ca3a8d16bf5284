// Which requests the audit log tells of, and how much of each: the first rule that matches decides.
// Pure. Source: kubernetes apiserver pkg/audit/policy/checker.go.
import type { RequestInfo, UserInfo } from '../http.ts';

export const levels = ['None', 'Metadata', 'Request', 'RequestResponse'] as const;
export type AuditLevel = (typeof levels)[number];

export const stages = ['RequestReceived', 'ResponseStarted', 'ResponseComplete', 'Panic'] as const;
export type AuditStage = (typeof stages)[number];

/** audit.k8s.io/v1 Policy. */
export interface AuditPolicy {
  readonly rules: readonly AuditRule[];
  readonly omitStages?: readonly AuditStage[];
  readonly omitManagedFields?: boolean;
}

/** Lists that are left out or empty match everything. */
export interface AuditRule {
  readonly level: AuditLevel;
  readonly users?: readonly string[];
  readonly userGroups?: readonly string[];
  readonly verbs?: readonly string[];
  readonly resources?: readonly GroupResources[];
  readonly namespaces?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
  readonly omitStages?: readonly AuditStage[];
  readonly omitManagedFields?: boolean;
}

export interface GroupResources {
  readonly group?: string;
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
}

export interface AuditDecision {
  readonly level: AuditLevel;
  readonly omitStages: readonly AuditStage[];
  readonly omitManagedFields: boolean;
}

/** `user` undefined: nobody was recognized. */
export function decideAudit(
  policy: AuditPolicy,
  info: RequestInfo,
  user: UserInfo | undefined,
): AuditDecision {
  const rule = policy.rules.find((one) => matches(one, info, user));
  const level = rule?.level ?? 'None';
  return {
    level: isConfidential(info) && hasBodies(level) ? 'Metadata' : level,
    omitStages: [...(policy.omitStages ?? []), ...(rule?.omitStages ?? [])],
    omitManagedFields: rule?.omitManagedFields ?? policy.omitManagedFields ?? false,
  };
}

export function hasBodies(level: AuditLevel): boolean {
  return level === 'Request' || level === 'RequestResponse';
}

/**
 * Differs: Kubernetes writes the bodies of Secrets and tokens into the log if the policy says so.
 * Here no policy can: a log is easier to come by than the store, where they lie encrypted. The passwords of
 * machines that are added lie nowhere at all.
 */
function isConfidential({ group, resource, subresource }: RequestInfo): boolean {
  if (group === 'authentication.k8s.io') return resource === 'tokenreviews';
  if (group === 'flotilla.dev') return resource === 'machines' && subresource === 'enrolment';
  if (group !== '') return false;
  return resource === 'secrets' || (resource === 'serviceaccounts' && subresource === 'token');
}

function matches(rule: AuditRule, info: RequestInfo, user: UserInfo | undefined): boolean {
  const { users = [], userGroups = [], verbs = [] } = rule;
  const { resources = [], namespaces = [], nonResourceURLs = [] } = rule;
  if (users.length > 0 && !(user !== undefined && users.includes(user.name))) return false;
  const groups = user?.groups ?? [];
  if (userGroups.length > 0 && !groups.some((group) => userGroups.includes(group))) return false;
  if (verbs.length > 0 && !verbs.includes(info.verb)) return false;
  if (namespaces.length > 0 || resources.length > 0) return matchesResource(rule, info);
  if (nonResourceURLs.length === 0) return true;
  return !info.isResourceRequest && nonResourceURLs.some((url) => matchesPath(url, info.path));
}

function matchesResource(rule: AuditRule, info: RequestInfo): boolean {
  if (!info.isResourceRequest) return false;
  const { namespaces = [], resources = [] } = rule;
  // What has no namespace is in the namespace ''.
  if (namespaces.length > 0 && !namespaces.includes(info.namespace)) return false;
  return resources.length === 0 || resources.some((one) => matchesGroup(one, info));
}

function matchesGroup(rule: GroupResources, info: RequestInfo): boolean {
  const { group = '', resources = [], resourceNames = [] } = rule;
  if (group !== info.group) return false;
  if (resources.length === 0) return true;
  if (resourceNames.length > 0 && !resourceNames.includes(info.name)) return false;
  const { resource, subresource } = info;
  const whole = subresource === '' ? resource : `${resource}/${subresource}`;
  const patterns = ['*', whole, `*/${subresource}`, `${resource}/*`];
  return resources.some((pattern) => patterns.includes(pattern));
}

function matchesPath(pattern: string, path: string): boolean {
  if (pattern === '*' || pattern === path) return true;
  return pattern.endsWith('*') && path.startsWith(pattern.slice(0, -1));
}
