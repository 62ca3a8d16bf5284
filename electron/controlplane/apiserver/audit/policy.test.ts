import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { HttpMethod } from '#kube/client/transport.ts';
import type { UserInfo } from '../http.ts';
import { parseRequestInfo } from '../request-info.ts';
import { defaultAuditPolicy } from './default-policy.ts';
import { parseAuditPolicy } from './policy-file.ts';
import { decideAudit, type AuditPolicy } from './policy.ts';

const user = (name: string, ...groups: string[]): UserInfo => ({ name, groups });
const alice = user('alice', 'devs', 'system:authenticated');

function level(policy: AuditPolicy, method: HttpMethod, url: string, who?: UserInfo): string {
  const { pathname: path, searchParams: query } = new URL(url, 'https://x');
  return decideAudit(policy, parseRequestInfo({ method, path, query }), who).level;
}

describe('the first rule that matches decides', () => {
  const cases: readonly {
    readonly name: string;
    readonly rule: Partial<AuditPolicy['rules'][number]>;
    readonly yes: readonly string[];
    readonly no: readonly string[];
  }[] = [
    { name: 'everything', rule: {}, yes: ['GET /api', 'GET /api/v1/pods'], no: [] },
    {
      name: 'users',
      rule: { users: ['alice'] },
      yes: ['GET /api'],
      no: ['GET /api as bob', 'GET /api as nobody'],
    },
    {
      name: 'groups',
      rule: { userGroups: ['ops', 'devs'] },
      yes: ['GET /api'],
      no: ['GET /api as bob', 'GET /api as nobody'],
    },
    {
      name: 'verbs',
      rule: { verbs: ['list', 'post'] },
      yes: ['GET /api/v1/pods', 'POST /api'],
      no: ['GET /api/v1/namespaces/a/pods/b'],
    },
    {
      name: 'a group with all its resources',
      rule: { resources: [{ group: 'apps' }] },
      yes: ['GET /apis/apps/v1/deployments', 'PUT /apis/apps/v1/namespaces/a/deployments/b/scale'],
      no: ['GET /api/v1/pods', 'GET /apis/apps'],
    },
    {
      name: 'a resource without its subresources',
      rule: { resources: [{ resources: ['pods'] }] },
      yes: ['GET /api/v1/pods'],
      no: ['GET /api/v1/namespaces/a/pods/b/log', 'GET /api/v1/nodes'],
    },
    {
      name: 'subresources by pattern',
      rule: { resources: [{ resources: ['pods/*', '*/scale'] }] },
      yes: [
        'GET /api/v1/namespaces/a/pods/b/log',
        'GET /api/v1/namespaces/a/replicationcontrollers/b/scale',
      ],
      no: ['GET /api/v1/namespaces/a/replicationcontrollers/b/status'],
    },
    {
      name: 'names',
      rule: { resources: [{ resources: ['*'], resourceNames: ['b'] }] },
      yes: ['GET /api/v1/namespaces/a/pods/b'],
      no: ['GET /api/v1/namespaces/a/pods/c'],
    },
    {
      name: "namespaces, '' for what has none",
      rule: { namespaces: ['a', ''] },
      yes: ['GET /api/v1/namespaces/a/pods', 'GET /api/v1/nodes'],
      no: ['GET /api/v1/namespaces/b/pods', 'GET /healthz'],
    },
    {
      name: 'paths',
      rule: { nonResourceURLs: ['/healthz*', '/version'] },
      yes: ['GET /healthz/etcd', 'GET /version'],
      no: ['GET /versions', 'GET /api/v1/pods'],
    },
  ];
  for (const { name, rule, yes, no } of cases)
    it(`by ${name}`, () => {
      const policy: AuditPolicy = { rules: [{ level: 'Request', ...rule }, { level: 'Metadata' }] };
      const decided = (text: string): string => {
        const [method, url = '', , who = 'alice'] = text.split(' ');
        const as = who === 'nobody' ? undefined : who === 'alice' ? alice : user(who);
        return `${text}: ${level(policy, method as HttpMethod, url, as)}`;
      };
      expect([...yes, ...no].map(decided)).toEqual([
        ...yes.map((text) => `${text}: Request`),
        ...no.map((text) => `${text}: Metadata`),
      ]);
    });

  it('and nothing is told when none matches', () => {
    const policy: AuditPolicy = { rules: [{ level: 'Request', users: ['bob'] }] };
    expect(level(policy, 'GET', '/api', alice)).toBe('None');
  });

  it('stages are left out by the policy and by the rule', () => {
    const policy: AuditPolicy = {
      omitStages: ['RequestReceived'],
      omitManagedFields: true,
      rules: [{ level: 'Request', omitStages: ['Panic'], omitManagedFields: false }],
    };
    const info = parseRequestInfo({
      method: 'GET',
      path: '/api',
      query: new URLSearchParams(),
    } as never);
    expect(decideAudit(policy, info, alice)).toEqual({
      level: 'Request',
      omitStages: ['RequestReceived', 'Panic'],
      omitManagedFields: false,
    });
  });

  it('bodies of secrets and tokens are never told', () => {
    const policy: AuditPolicy = { rules: [{ level: 'RequestResponse' }] };
    const urls = [
      '/api/v1/namespaces/a/secrets/b',
      '/api/v1/namespaces/a/serviceaccounts/b/token',
      '/apis/authentication.k8s.io/v1/tokenreviews',
      '/apis/flotilla.dev/v1alpha1/machines/pi/enrolment',
      '/api/v1/namespaces/a/configmaps/b',
    ];
    expect(urls.map((url) => level(policy, 'POST', url, alice))).toEqual([
      'Metadata',
      'Metadata',
      'Metadata',
      'Metadata',
      'RequestResponse',
    ]);
  });
});

describe('the default policy', () => {
  const node = user('system:node:pi', 'system:nodes');
  const controller = user('system:serviceaccount:kube-system:deployment-controller');
  const cases: readonly [string, HttpMethod, string, UserInfo][] = [
    ['Metadata', 'POST', '/api/v1/namespaces/a/configmaps', alice],
    ['Metadata', 'DELETE', '/api/v1/namespaces/a/pods', alice],
    ['Metadata', 'POST', '/api/v1/namespaces/a/secrets', user('system:serviceaccount:a:robot')],
    ['Metadata', 'GET', '/api/v1/namespaces/a/pods/b/exec', alice],
    ['Metadata', 'POST', '/api/v1/namespaces/a/serviceaccounts/b/token', node],
    ['None', 'GET', '/api/v1/namespaces/a/secrets/b', alice],
    ['None', 'GET', '/healthz', alice],
    ['None', 'PUT', '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/pi', node],
    ['None', 'PATCH', '/api/v1/nodes/pi/status', node],
    ['None', 'POST', '/api/v1/namespaces/a/events', alice],
    ['None', 'POST', '/apis/events.k8s.io/v1/namespaces/a/events', alice],
    ['None', 'POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', alice],
    ['None', 'PUT', '/apis/apps/v1/namespaces/a/replicasets/b', controller],
    ['None', 'POST', '/api/v1/namespaces/a/pods/b/binding', user('system:kube-scheduler')],
  ];
  for (const [want, method, url, who] of cases)
    it(`is ${want} for ${method} ${url} by ${who.name}`, () => {
      expect(level(defaultAuditPolicy, method, url, who)).toBe(want);
    });
});

describe('a policy file', () => {
  const head = 'apiVersion: audit.k8s.io/v1\nkind: Policy\n';

  it("is read as Kubernetes' documentation writes it", () => {
    const text = `${head}omitStages: ["RequestReceived"]
rules:
  - level: RequestResponse
    resources:
    - group: ""
      resources: ["pods"]
  - level: None
    userGroups: ["system:authenticated"]
    nonResourceURLs: ["/api*", "/version"]
  - level: Metadata
    resources:
    - group: "" # core
      resources: ["secrets", "configmaps"]
      resourceNames:
  - level: Metadata
    omitStages: ["RequestReceived"]
`;
    const policy = parseAuditPolicy(parse(text));
    expect(level(policy, 'GET', '/api/v1/pods', alice)).toBe('RequestResponse');
    expect(level(policy, 'GET', '/version', alice)).toBe('None');
  });

  const refused = [
    ['', 'the file has to be a mapping'],
    ['kind: Policy\nrules: [{level: None}]', 'apiVersion is missing'],
    [head, 'loaded illegal policy with 0 rules'],
    [`${head}rules: [{}]`, 'rules[0].level: Required value'],
    [
      `${head}rules: [{level: Meta}]`,
      'rules[0].level: Unsupported value: "Meta": supported values: "None", "Metadata", "Request", "RequestResponse"',
    ],
    [`${head}rules: [{level: None, user: [a]}]`, 'unknown field rules[0].user'],
    [`${head}rules: [{level: None, users: a}]`, 'rules[0].users has to be a list'],
    [
      `${head}rules: [{level: None, namespaces: [a], nonResourceURLs: [/a]}]`,
      'rules cannot apply to both regular resources and non-resource URLs',
    ],
    [
      `${head}rules: [{level: None, nonResourceURLs: ["/a*b"]}]`,
      "non-resource URL wildcards '*' must be the final character of the rule",
    ],
    [
      `${head}rules: [{level: None, resources: [{resourceNames: [a]}]}]`,
      'using resourceNames requires at least one resource',
    ],
    [`${head}rules: [{level: None, resources: [{group: apps/v1}]}]`, 'is no API group'],
  ];
  for (const [text = '', want = ''] of refused)
    it(`is refused: ${want}`, () => {
      expect(() => parseAuditPolicy(parse(text))).toThrow(want);
    });
});
