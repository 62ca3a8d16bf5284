import { describe, expect, it } from 'vitest';
import type { KubeObject } from '#kube/api/object.ts';
import type { Subject } from '#kube/api/rbac.ts';
import { createAuthorizer } from '../authorization.ts';
import { clusterRole, rule } from '../bootstrap/vocabulary.ts';
import { GrantCache } from './grants.ts';
import { indexRbac, type RbacObjects } from './objects.ts';

const apiGroup = 'rbac.authorization.k8s.io';
const apiVersion = `${apiGroup}/v1`;

function role(namespace: string, name: string, verbs: string): KubeObject {
  const made = { ...clusterRole(name, [rule(verbs, 'core', 'pods')]), kind: 'Role' };
  return { ...made, metadata: { name, namespace } };
}

function binding(namespace: string, ref: string, ...subjects: Partial<Subject>[]): KubeObject {
  const [kind = '', name = ''] = ref.split('/');
  return {
    apiVersion,
    kind: namespace === '' ? 'ClusterRoleBinding' : 'RoleBinding',
    metadata: { name: `to-${name}`, ...(namespace === '' ? {} : { namespace }) },
    roleRef: { apiGroup, kind, name },
    subjects,
  } as unknown as KubeObject;
}

const cluster = [clusterRole('reader', [rule('get', 'core', 'pods')]) as unknown as KubeObject];

function may(objects: readonly KubeObject[], user: string, verb: string, namespace: string) {
  const index = indexRbac([...cluster, ...objects]);
  const authorize = createAuthorizer({
    grants: new GrantCache(() => index),
    nodePods: { podsOnNode: () => [] },
  });
  const [name = '', ...groups] = user.split(' ');
  return authorize({
    user: { name, groups },
    isResourceRequest: true,
    verb,
    path: '',
    group: '',
    namespace,
    resource: 'pods',
    subresource: '',
    name: '',
    fieldSelector: null,
  });
}

describe('a binding', () => {
  const alice = { kind: 'User', name: 'alice' };
  const cases: readonly (readonly [string, readonly KubeObject[], string, string, boolean])[] = [
    [
      'of the cluster counts everywhere',
      [binding('', 'ClusterRole/reader', alice)],
      'alice',
      'a',
      true,
    ],
    [
      'of the cluster counts at the cluster scope',
      [binding('', 'ClusterRole/reader', alice)],
      'alice',
      '',
      true,
    ],
    [
      'of a namespace counts there',
      [binding('a', 'ClusterRole/reader', alice)],
      'alice',
      'a',
      true,
    ],
    [
      'of a namespace counts nowhere else',
      [binding('a', 'ClusterRole/reader', alice)],
      'alice',
      'b',
      false,
    ],
    [
      'of a namespace does not count at the cluster scope',
      [binding('a', 'ClusterRole/reader', alice)],
      'alice',
      '',
      false,
    ],
    [
      'to a Role takes that of its namespace',
      [role('a', 'r', 'get'), binding('a', 'Role/r', alice)],
      'alice',
      'a',
      true,
    ],
    [
      'to a Role of another namespace gives nothing',
      [role('b', 'r', 'get'), binding('a', 'Role/r', alice)],
      'alice',
      'a',
      false,
    ],
    ['is not for others', [binding('', 'ClusterRole/reader', alice)], 'bob', 'a', false],
    [
      'is for a group',
      [binding('', 'ClusterRole/reader', { kind: 'Group', name: 'devs' })],
      'bob devs',
      'a',
      true,
    ],
    [
      'of a group is for no user of that name',
      [binding('', 'ClusterRole/reader', { kind: 'Group', name: 'bob' })],
      'bob',
      'a',
      false,
    ],
    [
      'is for an account of its own namespace',
      [binding('a', 'ClusterRole/reader', { kind: 'ServiceAccount', name: 'x' })],
      'system:serviceaccount:a:x',
      'a',
      true,
    ],
    [
      'is for an account of another',
      [binding('a', 'ClusterRole/reader', { kind: 'ServiceAccount', name: 'x', namespace: 'b' })],
      'system:serviceaccount:b:x',
      'a',
      true,
    ],
    [
      'of the cluster needs the namespace of an account',
      [binding('', 'ClusterRole/reader', { kind: 'ServiceAccount', name: 'x' })],
      'system:serviceaccount::x',
      'a',
      false,
    ],
  ];
  it.each(cases)('%s', (_, objects, user, namespace, want) => {
    expect(may(objects, user, 'get', namespace).allowed).toBe(want);
  });

  it('is named in the reason, and so is a role that is missing', () => {
    expect(may([binding('', 'ClusterRole/reader', alice)], 'alice', 'get', 'a').reason).toBe(
      'RBAC: allowed by ClusterRoleBinding "to-reader" of ClusterRole "reader" to User "alice"',
    );
    expect(may([binding('', 'ClusterRole/gone', alice)], 'alice', 'get', 'a')).toEqual({
      allowed: false,
      reason: 'RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found',
    });
  });
});

describe('what was granted', () => {
  const user = { name: 'alice', groups: ['devs'] };
  const of = (...objects: KubeObject[]): RbacObjects => indexRbac([...cluster, ...objects]);

  it('is collected once, until a role or binding changes', () => {
    let objects = of(binding('', 'ClusterRole/reader', { kind: 'User', name: 'alice' }));
    const grants = new GrantCache(() => objects);
    const first = grants.of(user, 'a');
    expect(first.list).toHaveLength(1);
    expect(grants.of({ ...user }, 'a')).toBe(first);
    objects = of();
    expect(grants.of(user, 'a').list).toEqual([]);
  });

  it('is kept apart by groups and namespace', () => {
    const objects = of(binding('a', 'ClusterRole/reader', { kind: 'Group', name: 'devs' }));
    const grants = new GrantCache(() => objects);
    const counts = [
      grants.of(user, 'a'),
      grants.of(user, 'b'),
      grants.of({ ...user, groups: [] }, 'a'),
    ].map(({ list }) => list.length);
    expect(counts).toEqual([1, 0, 0]);
  });

  it('is forgotten, not piled up, whatever namespaces are asked for', () => {
    const objects = of();
    const grants = new GrantCache(() => objects);
    const first = grants.of(user, 'n0');
    for (let n = 1; n < 4096; n++) grants.of(user, `n${n}`);
    expect(grants.of(user, 'n0')).not.toBe(first);
  });
});
