import { describe, expect, it } from 'vitest';
import type { FlowSchema } from '#kube/api/flowcontrol.ts';
import type { HttpMethod } from '#kube/client/transport.ts';
import type { UserInfo } from '../http.ts';
import { parseRequestInfo } from '../request-info.ts';
import { bootstrapSchemas } from './bootstrap.ts';
import { flowDistinguisher, matchingSchema, sortSchemas } from './matching.ts';

const as = (name: string, ...groups: string[]): UserInfo => ({
  name,
  groups: [...groups, 'system:authenticated'],
});
const account = (name: string, namespace = 'kube-system'): UserInfo =>
  as(`system:serviceaccount:${namespace}:${name}`, 'system:serviceaccounts');
const node = as('system:node:pi', 'system:nodes');

function infoOf(text: string) {
  const [method, url = ''] = text.split(' ');
  const { pathname: path, searchParams: query } = new URL(url, 'https://x');
  return parseRequestInfo({ method: method as HttpMethod, path, query });
}

const schemas = sortSchemas(bootstrapSchemas);
const lease = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/pi';

describe('of the schemas that every cluster begins with', () => {
  const cases: readonly [want: string, request: string, user: UserInfo][] = [
    ['exempt', 'DELETE /api/v1/pods', as('admin', 'system:masters')],
    ['probes', 'GET /readyz', { name: 'system:anonymous', groups: ['system:unauthenticated'] }],
    ['global-default', 'GET /version', as('alice')],
    ['global-default', 'GET /api/v1/pods', as('alice')],
    ['service-accounts', 'GET /api/v1/pods', account('robot', 'default')],
    ['kube-system-service-accounts', 'GET /api/v1/pods', account('coredns')],
    ['kube-scheduler', 'POST /api/v1/namespaces/a/pods/b/binding', as('system:kube-scheduler')],
    ['kube-controller-manager', 'GET /api/v1/pods', as('system:kube-controller-manager')],
    ['system-leader-election', `PUT ${lease}`, account('any')],
    ['endpoint-controller', 'PUT /api/v1/namespaces/a/endpoints/b', account('endpoint-controller')],
    ['workload-leader-election', 'PUT /api/v1/namespaces/a/configmaps/b', account('any')],
    ['system-node-high', `PUT ${lease}`, node],
    ['system-node-high', 'PATCH /api/v1/nodes/pi/status', node],
    ['system-nodes', 'PATCH /api/v1/namespaces/a/pods/b/status', node],
    ['system-nodes', 'GET /api/v1/nodes/pi/proxy', node],
    ['catch-all', 'GET /api/v1/pods', { name: 'x', groups: [] }],
  ];
  for (const [want, request, user] of cases)
    it(`${want} takes ${request} of ${user.name}`, () => {
      const found = matchingSchema(schemas, user, infoOf(request));
      expect(found?.metadata.name ?? 'catch-all').toBe(want);
    });
});

describe('a schema', () => {
  function schema(rule: object, more: Partial<FlowSchema['spec']> = {}): FlowSchema {
    const rules = [{ subjects: [{ kind: 'Group', group: { name: '*' } }], ...rule }];
    const spec = { priorityLevelConfiguration: { name: 'x' }, rules, ...more };
    return { metadata: { name: 'x' }, spec } as FlowSchema;
  }
  const all = { verbs: ['*'], apiGroups: ['*'], resources: ['*'], namespaces: ['*'] };
  const cases = [
    { name: 'of namespaces leaves out what has none', rule: all, request: 'GET /api/v1/nodes' },
    {
      name: 'of the cluster leaves out what has a namespace',
      rule: { ...all, namespaces: [], clusterScope: true },
      request: 'GET /api/v1/namespaces/a/pods',
    },
    {
      name: 'of a resource leaves out its subresources',
      rule: { ...all, resources: ['pods'] },
      request: 'GET /api/v1/namespaces/a/pods/b/status',
    },
    {
      name: 'of resources leaves out paths',
      rule: { ...all, clusterScope: true },
      request: 'GET /version',
    },
  ];
  for (const { name, rule, request } of cases)
    it(name, () => {
      const one = schema({ resourceRules: [rule] });
      expect(matchingSchema([one], as('alice'), infoOf(request))).toBeUndefined();
      expect(
        matchingSchema([one], as('alice'), infoOf('GET /api/v1/namespaces/a/pods')) !== undefined,
      ).toBe(rule.namespaces.length > 0);
    });

  it('tells flows apart by user, by namespace, or not at all', () => {
    const info = infoOf('GET /api/v1/namespaces/a/pods');
    const by = (type?: string): string =>
      flowDistinguisher(
        schema({}, type === undefined ? {} : { distinguisherMethod: { type } }),
        as('alice'),
        info,
      );
    expect([by('ByUser'), by('ByNamespace'), by()]).toEqual(['alice', 'a', '']);
  });

  it('of the same precedence comes in order of names', () => {
    const named = (name: string): FlowSchema => ({
      ...schema({}, { matchingPrecedence: 5 }),
      metadata: { name },
    });
    const sorted = sortSchemas([named('b'), named('a'), ...bootstrapSchemas.slice(0, 1)]);
    expect(sorted.map(({ metadata }) => metadata.name)).toEqual(['exempt', 'a', 'b']);
  });
});
