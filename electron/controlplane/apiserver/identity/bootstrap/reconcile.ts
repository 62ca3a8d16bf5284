// At each start the bootstrap roles are made, and completed where somebody took something away:
// rules, subjects, labels. What was added stays. One whose annotation says `autoupdate: false` is
// left alone. Pure: the composition root reads and writes.
// Source: kubernetes pkg/registry/rbac/reconciliation/{reconcile_role,reconcile_rolebindings}.go.
import type { Subject } from '#kube/api/rbac.ts';
import { compact, uncovered } from '../rbac/rules.ts';
import type { RbacObject } from './policy.ts';
import { autoupdate } from './vocabulary.ts';

export type Reconciliation =
  | { readonly action: 'none' }
  | { readonly action: 'create' | 'update' | 'recreate'; readonly object: RbacObject };

export function reconcile(wanted: RbacObject, found: RbacObject | undefined): Reconciliation {
  if (found === undefined) return { action: 'create', object: wanted };
  if (found.metadata.annotations?.[autoupdate] === 'false') return { action: 'none' };
  // The role of a binding can't be changed: another one takes its place.
  if ('roleRef' in wanted && 'roleRef' in found && wanted.roleRef.name !== found.roleRef.name)
    return { action: 'recreate', object: wanted };
  const next = {
    ...found,
    metadata: {
      ...found.metadata,
      labels: { ...wanted.metadata.labels, ...found.metadata.labels },
      annotations: { ...wanted.metadata.annotations, ...found.metadata.annotations },
    },
    ...content(wanted, found),
  } as RbacObject;
  return isComplete(wanted, found) ? { action: 'none' } : { action: 'update', object: next };
}

function content(wanted: RbacObject, found: RbacObject): Partial<RbacObject> {
  if ('roleRef' in wanted && 'roleRef' in found) {
    const subjects = found.subjects ?? [];
    return { subjects: [...subjects, ...missingSubjects(wanted.subjects, subjects)] };
  }
  if ('roleRef' in wanted || 'roleRef' in found) return {};
  if (wanted.kind === 'ClusterRole' && wanted.aggregationRule !== undefined)
    return { aggregationRule: wanted.aggregationRule };
  const rules = found.rules ?? [];
  return { rules: [...rules, ...compact(uncovered(rules, wanted.rules ?? []))] };
}

function isComplete(wanted: RbacObject, found: RbacObject): boolean {
  const hasAll = (has: Record<string, string> = {}, wants: Record<string, string> = {}): boolean =>
    Object.keys(wants).every((key) => key in has);
  const { labels, annotations } = wanted.metadata;
  if (!hasAll(found.metadata.labels, labels)) return false;
  if (!hasAll(found.metadata.annotations, annotations)) return false;
  if ('roleRef' in wanted)
    return (
      'roleRef' in found && missingSubjects(wanted.subjects, found.subjects ?? []).length === 0
    );
  if ('roleRef' in found) return false;
  if (wanted.kind === 'ClusterRole' && wanted.aggregationRule !== undefined)
    return (
      found.kind === 'ClusterRole' &&
      JSON.stringify(found.aggregationRule) === JSON.stringify(wanted.aggregationRule)
    );
  return uncovered(found.rules ?? [], wanted.rules ?? []).length === 0;
}

function missingSubjects(wanted: readonly Subject[] = [], found: readonly Subject[]): Subject[] {
  const isSame = (a: Subject, b: Subject): boolean =>
    a.kind === b.kind && a.name === b.name && (a.namespace ?? '') === (b.namespace ?? '');
  return wanted.filter((subject) => !found.some((other) => isSame(subject, other)));
}
