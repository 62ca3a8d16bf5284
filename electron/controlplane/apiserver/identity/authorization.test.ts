import { describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import type { HttpMethod } from '#kube/client/transport.ts';
import { createAuthorizer, forbiddenError } from './authorization.ts';
import type { AuthorizationAttributes } from './authorizer.ts';
import type { UserInfo } from '../http.ts';
import { bootstrapRbac } from './bootstrap/policy.ts';
import { GrantCache } from './rbac/grants.ts';
import { indexRbac } from './rbac/objects.ts';
import { parseRequestInfo } from '../request-info.ts';

const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'a' },
  spec: {
    nodeName: 'n1',
    serviceAccountName: 'robot',
    imagePullSecrets: [{ name: 'pull' }],
    containers: [
      {
        name: 'c',
        image: 'i',
        envFrom: [{ configMapRef: { name: 'from-env' } }],
        env: [{ name: 'X', valueFrom: { secretKeyRef: { name: 'key', key: 'k' } } }],
      },
    ],
    volumes: [
      { name: 'v', configMap: { name: 'mounted' } },
      { name: 's', secret: { secretName: 'tls' } },
      { name: 'p', projected: { sources: [{ configMap: { name: 'projected' } }] } },
    ],
  },
};

const objects = indexRbac(bootstrapRbac);
const authorize = createAuthorizer({
  grants: new GrantCache(() => objects),
  nodePods: {
    podsOnNode: (name) => (name === 'n1' ? [pod] : []),
    isIngressSecret: (namespace, name) => `${namespace}/${name}` === 'b/ingress-tls',
  },
});

const node: UserInfo = { name: 'system:node:n1', groups: ['system:nodes', 'system:authenticated'] };
const others: Readonly<Record<string, UserInfo>> = {
  admin: { name: 'kubernetes-admin', groups: ['system:masters', 'system:authenticated'] },
  anonymous: { name: 'system:anonymous', groups: ['system:unauthenticated'] },
  alice: { name: 'alice', groups: ['system:authenticated'] },
  scheduler: { name: 'system:kube-scheduler', groups: ['system:authenticated'] },
  controllers: { name: 'system:kube-controller-manager', groups: ['system:authenticated'] },
  'the deployment controller': account('deployment-controller'),
  'the replica set controller': account('replicaset-controller'),
  'the namespace controller': account('namespace-controller'),
  'the endpoint slice controller': account('endpointslice-controller'),
  monitor: { name: 'prom', groups: ['system:monitoring', 'system:authenticated'] },
  node,
  'nameless node': { name: 'system:node:', groups: ['system:nodes'] },
  'node outside the group': { name: 'system:node:n1', groups: ['system:authenticated'] },
};

function account(name: string): UserInfo {
  const groups = ['system:serviceaccounts', 'system:serviceaccounts:kube-system'];
  return { name: `system:serviceaccount:kube-system:${name}`, groups };
}

function attributesOf(user: UserInfo, line: string): AuthorizationAttributes {
  const [method = '', url = ''] = line.split(' ');
  const [path = '', search = ''] = url.split('?');
  const query = new URLSearchParams(search);
  const info = parseRequestInfo({ method: method as HttpMethod, path, query });
  return { ...info, user, fieldSelector: query.get('fieldSelector') };
}

const leases = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';

describe('what is allowed', () => {
  const allowed: Readonly<Record<string, readonly string[]>> = {
    admin: ['DELETE /api/v1/namespaces/a/secrets', 'GET /metrics', 'GET /whatever'],
    anonymous: ['GET /healthz', 'GET /livez', 'GET /readyz', 'GET /version'],
    alice: ['GET /api', 'GET /apis/apps/v1', 'GET /openapi/v3', 'GET /version'],
    monitor: ['GET /metrics', 'GET /livez/ping'],
    scheduler: [
      'GET /api/v1/pods?watch=true',
      'POST /api/v1/namespaces/a/pods/web/binding',
      'PATCH /api/v1/namespaces/a/pods/web/status',
      'GET /api/v1/nodes',
      'POST /api/v1/namespaces/a/events',
    ],
    controllers: ['GET /api/v1/secrets?watch=true', 'PUT /api/v1/namespaces/a/secrets/x'],
    'the deployment controller': ['DELETE /apis/apps/v1/namespaces/a/replicasets/x'],
    'the replica set controller': ['POST /api/v1/namespaces/a/pods'],
    'the namespace controller': [
      'PUT /api/v1/namespaces/a/finalize',
      'DELETE /apis/any.example/v1/namespaces/a/things',
    ],
    'the endpoint slice controller': ['POST /apis/discovery.k8s.io/v1/namespaces/a/endpointslices'],
    node: [
      'GET /api/v1/pods?fieldSelector=spec.nodeName%3Dn1&watch=true',
      'GET /api/v1/namespaces/a/pods/web',
      'GET /api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dweb',
      'PATCH /api/v1/namespaces/a/pods/web/status',
      'DELETE /api/v1/namespaces/a/pods/web',
      'POST /api/v1/nodes',
      'GET /api/v1/nodes/n1',
      'GET /api/v1/nodes?fieldSelector=metadata.name%3Dn1&watch=true',
      'PATCH /api/v1/nodes/n1/status',
      `POST ${leases}`,
      `PUT ${leases}/n1`,
      'GET /api/v1/namespaces/a/secrets/pull',
      'GET /api/v1/namespaces/a/secrets/key',
      'GET /api/v1/namespaces/a/secrets/tls',
      'GET /api/v1/namespaces/b/secrets/ingress-tls',
      'GET /api/v1/namespaces/b/secrets?fieldSelector=metadata.name%3Dingress-tls&watch=true',
      'GET /apis/networking.k8s.io/v1/ingresses?watch=true',
      'GET /apis/networking.k8s.io/v1/ingressclasses',
      'GET /apis/networking.k8s.io/v1/networkpolicies?watch=true',
      'GET /api/v1/pods?watch=true',
      'GET /api/v1/namespaces',
      'GET /api/v1/namespaces/a/configmaps/from-env',
      'GET /api/v1/namespaces/a/configmaps/mounted',
      'GET /api/v1/namespaces/a/configmaps/projected',
      'GET /api/v1/namespaces/a/configmaps?fieldSelector=metadata.name%3Dmounted&watch=true',
      'GET /api/v1/services?watch=true',
      'GET /apis/discovery.k8s.io/v1/endpointslices',
      'GET /apis/node.k8s.io/v1/runtimeclasses/gvisor',
      'POST /api/v1/namespaces/a/events',
      'POST /api/v1/namespaces/a/serviceaccounts/robot/token',
      'POST /apis/authorization.k8s.io/v1/subjectaccessreviews',
      'POST /apis/authentication.k8s.io/v1/tokenreviews',
      'POST /apis/certificates.k8s.io/v1/certificatesigningrequests',
      'GET /api/v1/nodes',
      'GET /api/v1/nodes?watch=true',
      'GET /api/v1',
    ],
  };
  for (const [who, lines] of Object.entries(allowed))
    for (const line of lines)
      it(`${who} may ${line}`, () => {
        expect(authorize(attributesOf(others[who] ?? node, line)).allowed).toBe(true);
      });
});

describe('what is refused, in the words of Kubernetes', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    [
      'alice',
      'GET /api/v1/namespaces/default/pods',
      'pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "default"',
    ],
    [
      'alice',
      'GET /apis/apps/v1/namespaces/a/deployments/x/scale',
      'deployments.apps "x" is forbidden: User "alice" cannot get resource "deployments/scale" in API group "apps" in the namespace "a"',
    ],
    [
      'alice',
      'POST /api/v1/nodes',
      'nodes is forbidden: User "alice" cannot create resource "nodes" in API group "" at the cluster scope',
    ],
    ['anonymous', 'GET /', 'forbidden: User "system:anonymous" cannot get path "/"'],
    ['anonymous', 'GET /api', 'forbidden: User "system:anonymous" cannot get path "/api"'],
    ['alice', 'GET /metrics', 'forbidden: User "alice" cannot get path "/metrics"'],
    [
      'scheduler',
      'GET /api/v1/namespaces/a/secrets/x',
      'secrets "x" is forbidden: User "system:kube-scheduler" cannot get resource "secrets" in API group "" in the namespace "a"',
    ],
    [
      'controllers',
      'POST /api/v1/namespaces/a/pods',
      'pods is forbidden: User "system:kube-controller-manager" cannot create resource "pods" in API group "" in the namespace "a"',
    ],
    [
      'node outside the group',
      'GET /api/v1/nodes/n1',
      'nodes "n1" is forbidden: User "system:node:n1" cannot get resource "nodes" in API group "" at the cluster scope',
    ],
    [
      'nameless node',
      'GET /api/v1/nodes/n1',
      'nodes "n1" is forbidden: User "system:node:" cannot get resource "nodes" in API group "" at the cluster scope: unknown node for user "system:node:"',
    ],
  ];
  const ofNodes: readonly (readonly [string, string])[] = [
    ['GET /api/v1/namespaces/a/pods', 'can only list/watch pods with spec.nodeName field selector'],
    ['GET /api/v1/namespaces/a', ''],
    ['PUT /apis/networking.k8s.io/v1/namespaces/a/networkpolicies/x', ''],
    [
      'GET /api/v1/pods?fieldSelector=spec.nodeName%3Dn2',
      'can only list/watch pods with spec.nodeName field selector',
    ],
    [
      'GET /api/v1/pods?fieldSelector=spec.nodeName!%3Dn1',
      'can only list/watch pods with spec.nodeName field selector',
    ],
    [
      'GET /api/v1/namespaces/b/pods/web',
      "no relationship found between node 'n1' and this object",
    ],
    ['GET /api/v1/nodes/n2', "node 'n1' cannot read 'n2', only its own Node object"],
    [
      'GET /api/v1/namespaces/a/secrets/other',
      "no relationship found between node 'n1' and this object",
    ],
    [
      'GET /api/v1/namespaces/a/secrets/ingress-tls',
      "no relationship found between node 'n1' and this object",
    ],
    ['PUT /api/v1/namespaces/b/secrets/ingress-tls', 'can only read resources of this type'],
    [
      'GET /api/v1/namespaces/b/secrets/tls',
      "no relationship found between node 'n1' and this object",
    ],
    ['GET /api/v1/namespaces/a/secrets', 'No Object name found'],
    ['GET /api/v1/secrets', 'can only read namespaced object of this type'],
    ['PUT /api/v1/namespaces/a/secrets/tls', 'can only read resources of this type'],
    [`GET ${leases}`, 'can only get, create, update, patch, or delete a node lease'],
    [`PUT ${leases}/n2`, 'can only access node lease with the same name as the requesting node'],
    [
      'PUT /apis/coordination.k8s.io/v1/namespaces/a/leases/n1',
      'can only access leases in the "kube-node-lease" system namespace',
    ],
    [
      'POST /api/v1/namespaces/a/serviceaccounts/default/token',
      "no relationship found between node 'n1' and this object",
    ],
    [
      'POST /api/v1/namespaces/b/serviceaccounts/robot/token',
      "no relationship found between node 'n1' and this object",
    ],
    ['GET /api/v1/namespaces/a/serviceaccounts/robot', 'can only create tokens'],
    ['GET /api/v1/nodes/n1/proxy/stats', ''],
    ['DELETE /api/v1/nodes/n1', ''],
    ['POST /api/v1/namespaces/a/pods/web/binding', ''],
    ['DELETE /api/v1/services', ''],
  ];
  for (const [who, line, want] of cases)
    it(`${who}: ${line}`, () => {
      const attributes = attributesOf(others[who] ?? node, line);
      const decision = authorize(attributes);
      const { code, message } = forbiddenError(attributes, decision.reason);
      expect([decision.allowed, code, message]).toEqual([false, 403, want]);
    });
  for (const [line, reason] of ofNodes)
    it(`a node: ${line}`, () => {
      expect(authorize(attributesOf(node, line))).toEqual({ allowed: false, reason });
    });
});
