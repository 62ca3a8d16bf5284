import { describe, expect, it } from 'vitest';
import type { ClusterRole, ClusterRoleBinding } from '#kube/api/rbac.ts';
import { uncovered } from '../rbac/rules.ts';
import { bootstrapRbac } from './policy.ts';
import { reconcile } from './reconcile.ts';
import { autoupdate, rule } from './vocabulary.ts';

function wanted(kind: string, name: string): unknown {
  return structuredClone(
    bootstrapRbac.find((object) => object.kind === kind && object.metadata.name === name),
  );
}

const role = () => wanted('ClusterRole', 'system:kube-dns') as ClusterRole;
const binding = () => wanted('ClusterRoleBinding', 'system:discovery') as ClusterRoleBinding;

describe('at a start', () => {
  it('every name is there once, and each controller that has a role is bound to it', () => {
    const names = bootstrapRbac.map(
      ({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''} ${metadata.name}`,
    );
    expect(new Set(names).size).toBe(names.length);
    const roles = names.filter((name) => name.startsWith('ClusterRole  system:controller:'));
    expect(roles.length).toBeGreaterThan(20);
    for (const name of roles)
      expect(names).toContain(name.replace('ClusterRole', 'ClusterRoleBinding'));
  });

  it('what is missing is made', () => {
    expect(reconcile(role(), undefined)).toEqual({ action: 'create', object: role() });
  });

  it('what is whole is left, with all that was added', () => {
    const found = role();
    found.rules?.push(rule('get', 'core', 'pods'));
    found.metadata.labels = { ...found.metadata.labels, mine: 'yes' };
    expect(reconcile(role(), found)).toEqual({ action: 'none' });
    const bound = binding();
    bound.subjects?.push({ kind: 'User', name: 'bob' });
    expect(reconcile(binding(), bound)).toEqual({ action: 'none' });
  });

  it('rules that were taken away come back, and what was added stays', () => {
    const mine = rule('get', 'core', 'pods');
    const result = reconcile(role(), { ...role(), rules: [mine] });
    const rules = result.action === 'update' && 'rules' in result.object ? result.object.rules : [];
    expect(rules?.[0]).toEqual(mine);
    expect(uncovered(rules ?? [], role().rules ?? [])).toEqual([]);
  });

  it('subjects and labels that were taken away come back', () => {
    const found = binding();
    const metadata = { name: found.metadata.name };
    expect(reconcile(binding(), { ...found, metadata, subjects: [] })).toEqual({
      action: 'update',
      object: binding(),
    });
  });

  it('a binding to another role is made anew', () => {
    const found = binding();
    found.roleRef.name = 'view';
    expect(reconcile(binding(), found)).toEqual({ action: 'recreate', object: binding() });
  });

  it('what is marked so is left alone', () => {
    const found = role();
    found.metadata.annotations = { [autoupdate]: 'false' };
    expect(reconcile(role(), { ...found, rules: [] })).toEqual({ action: 'none' });
  });
});
