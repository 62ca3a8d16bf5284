// How the roles of every cluster are written down: lists of words, as RBAC objects.
import type { ClusterRole, PolicyRule } from '#kube/api/rbac.ts';

export const apiVersion = 'rbac.authorization.k8s.io/v1';
export const apiGroup = 'rbac.authorization.k8s.io';

export const read = 'get list watch';
export const write = 'create delete deletecollection patch update';

/** Lists are separated by blanks; the core group is `core`. */
export function rule(verbs: string, groups: string, resources: string, names = ''): PolicyRule {
  const made: PolicyRule = {
    verbs: verbs.split(' '),
    apiGroups: groups.split(' ').map((group) => (group === 'core' ? '' : group)),
    resources: resources.split(' '),
  };
  if (names !== '') made.resourceNames = names.split(' ');
  return made;
}

export function paths(verbs: string, urls: string): PolicyRule {
  return { verbs: verbs.split(' '), nonResourceURLs: urls.split(' ') };
}

export const events = rule('create patch update', 'core events.k8s.io', 'events');

/** Made again and completed at each start, unless a person set the annotation to `false`. */
export const autoupdate = 'rbac.authorization.kubernetes.io/autoupdate';

export function bootstrapMetadata(name: string, labels: Readonly<Record<string, string>> = {}) {
  return {
    name,
    labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults', ...labels },
    annotations: { [autoupdate]: 'true' },
  };
}

export function clusterRole(
  name: string,
  rules: readonly PolicyRule[],
  labels: Readonly<Record<string, string>> = {},
): ClusterRole {
  return {
    apiVersion,
    kind: 'ClusterRole',
    metadata: bootstrapMetadata(name, labels),
    rules: [...rules],
  };
}

/** What flows into a role: those labelled `aggregate-to-<name>`. */
export function aggregateLabel(into: string): Record<string, string> {
  return { [`rbac.authorization.k8s.io/aggregate-to-${into}`]: 'true' };
}
