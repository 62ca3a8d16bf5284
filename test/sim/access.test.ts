// Who may what, in the real API server with the real controllers: roles that aggregate, tokens and
// certificates that controllers hand out, and that nobody grants more than they hold.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { rfc3339 } from '#kube/base/clock.ts';
import type { CertificateSigningRequest } from '#kube/api/certificates.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { ClusterRole, ClusterRoleBinding, Role, RoleBinding } from '#kube/api/rbac.ts';
import {
  certificateSigningRequests,
  clusterRoles,
  configMaps,
  namespaces,
  pods,
  secrets,
  serviceAccounts,
  type Resource,
} from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { makeCertificateRequest, type RequestSubject } from '../setup/certificate-request.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
});
afterEach(() => sim.stop());

const apiGroup = 'rbac.authorization.k8s.io';
const apiVersion = `${apiGroup}/v1`;
const roles = rbac<Role>('roles', 'Role', true);
const roleBindings = rbac<RoleBinding>('rolebindings', 'RoleBinding', true);
const clusterRoleBindings = rbac<ClusterRoleBinding>(
  'clusterrolebindings',
  'ClusterRoleBinding',
  false,
);

function rbac<T extends KubeObject>(resource: string, kind: string, namespaced: boolean) {
  const made: Resource<T> = { group: apiGroup, version: 'v1', resource, kind, namespaced };
  return made;
}

function bind(user: string, roleName: string, kind = 'ClusterRole'): RoleBinding {
  return {
    apiVersion,
    kind: 'RoleBinding',
    metadata: { name: `${user}-${roleName}`, namespace: 'default' },
    roleRef: { apiGroup, kind, name: roleName },
    subjects: [{ kind: 'User', apiGroup, name: user }],
  };
}

function role(name: string, resource: string, ...verbs: string[]): Role {
  const rules = [{ apiGroups: [''], resources: [resource], verbs }];
  return { apiVersion, kind: 'Role', metadata: { name, namespace: 'default' }, rules };
}

/** What was said against it; '' when it was done. */
async function refusal(done: Promise<unknown>): Promise<string> {
  return done.then(
    () => '',
    (error: Error) => error.message,
  );
}

const inDefault = { namespace: 'default' };

describe('view, edit and admin', () => {
  const may = {
    view: { pods: true, secrets: false, write: false, bind: false },
    edit: { pods: true, secrets: true, write: true, bind: false },
    admin: { pods: true, secrets: true, write: true, bind: true },
  };
  it.each(Object.entries(may))('%s', async (name, want) => {
    await sim.client.create(roleBindings, bind('bob', name));
    await sim.settle();
    const bob = sim.clientAs('bob');
    const map = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'm', ...inDefault },
    } as const;
    const allowed = async (done: Promise<unknown>): Promise<boolean> =>
      !(await refusal(done)).includes('forbidden');
    expect({
      pods: await allowed(bob.list(pods, inDefault)),
      secrets: await allowed(bob.list(secrets, inDefault)),
      write: await allowed(bob.create(configMaps, map)),
      bind: await allowed(bob.create(roleBindings, bind('eve', 'view'))),
    }).toEqual(want);
    expect(await refusal(bob.list(pods, { namespace: 'kube-system' }))).toContain('forbidden');
  });

  it('take in what is labelled so, and let it go again', async () => {
    await sim.client.create(roleBindings, bind('bob', 'view'));
    const metadata = {
      name: 'more',
      labels: { [`${apiGroup}/aggregate-to-view`]: 'true' },
    };
    const rules = [{ apiGroups: ['example.com'], resources: ['things'], verbs: ['get'] }];
    await sim.client.create(clusterRoles, { apiVersion, kind: 'ClusterRole', metadata, rules });
    await sim.settle();
    const has = async (name: string): Promise<boolean> =>
      JSON.stringify((await sim.client.get(clusterRoles, { name })).rules).includes('things');
    expect(await Promise.all(['view', 'edit', 'admin'].map(has))).toEqual([true, true, true]);
    await sim.client.delete(clusterRoles, { name: 'more' });
    await sim.settle();
    expect(await Promise.all(['view', 'edit', 'admin'].map(has))).toEqual([false, false, false]);
  });
});

describe('nobody grants more than they hold', () => {
  const denied = 'is attempting to grant RBAC permissions not currently held:\n';
  let bob: RestClient;
  beforeEach(async () => {
    await sim.client.create(roleBindings, bind('bob', 'admin'));
    await sim.settle();
    bob = sim.clientAs('bob', ['devs']);
  });

  it('by a role', async () => {
    expect(await refusal(bob.create(roles, role('less', 'pods', 'get')))).toBe('');
    expect(await refusal(bob.create(roles, role('more', 'nodes', 'get', 'list')))).toBe(
      `roles.${apiGroup} "more" is forbidden: user "bob" (groups=["devs" "system:authenticated"]) ${denied}{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list"]}`,
    );
  });

  it('by making a role more later', async () => {
    const made = await bob.create(roles, role('mine', 'pods', 'get'));
    const more = { ...made, rules: role('', 'nodes', 'get').rules ?? [] };
    expect(await refusal(bob.update(roles, more))).toContain(denied);
    expect(await refusal(sim.client.update(roles, more))).toBe('');
    // What is in it already is not granted by who adds a label.
    const metadata = { labels: { a: 'b' } };
    const ref = { ...inDefault, name: 'mine' };
    expect(await refusal(bob.patch(roles, ref, { metadata }))).toBe('');
  });

  it('by a binding', async () => {
    expect(await refusal(bob.create(roleBindings, bind('eve', 'edit')))).toBe('');
    expect(await refusal(bob.create(roleBindings, bind('eve', 'cluster-admin')))).toContain(denied);
    expect(await refusal(bob.create(roleBindings, bind('eve', 'gone')))).toBe(
      `clusterroles.${apiGroup} "gone" not found`,
    );
  });

  it('unless they may escalate, or bind that very role', async () => {
    const verbs = (verb: string, resource: string, ...resourceNames: string[]) => ({
      apiGroups: [apiGroup],
      resources: [resource],
      verbs: [verb],
      ...(resourceNames.length === 0 ? {} : { resourceNames }),
    });
    const rules = [verbs('escalate', 'roles'), verbs('bind', 'clusterroles', 'system:node')];
    await sim.client.create(roles, { ...role('free', 'pods', 'get'), rules });
    await sim.client.create(roleBindings, bind('bob', 'free', 'Role'));
    expect(await refusal(bob.create(roles, role('more', 'nodes', 'get')))).toBe('');
    expect(await refusal(bob.create(roleBindings, bind('eve', 'system:node')))).toBe('');
    expect(await refusal(bob.create(roleBindings, bind('eve', 'cluster-admin')))).toContain(denied);
  });

  it('and the role of a binding stays the same', async () => {
    const made = await sim.client.create(roleBindings, bind('eve', 'view'));
    const other = { ...made, roleRef: { ...made.roleRef, name: 'edit' } };
    expect(await refusal(sim.client.update(roleBindings, other))).toContain(
      'roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"edit"}: cannot change roleRef',
    );
  });

  it('by an aggregated role', async () => {
    const rules = [{ apiGroups: [apiGroup], resources: ['*'], verbs: ['create'] }];
    const metadata = { name: 'roles' };
    await sim.client.create(clusterRoles, { apiVersion, kind: 'ClusterRole', metadata, rules });
    const binding = { ...bind('bob', 'roles'), kind: 'ClusterRoleBinding', metadata } as const;
    await sim.client.create(clusterRoleBindings, binding);
    const all: ClusterRole = {
      apiVersion,
      kind: 'ClusterRole',
      metadata: { name: 'all' },
      aggregationRule: { clusterRoleSelectors: [{ matchLabels: { a: 'b' } }] },
    };
    expect(await refusal(bob.create(clusterRoles, all))).toContain(denied);
  });
});

describe('every namespace', () => {
  it('has the certificate authority, also after somebody changed or deleted it', async () => {
    const metadata = { name: 'lab' };
    await sim.client.create(namespaces, {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata,
      spec: {},
    });
    await sim.settle();
    const ref = { namespace: 'lab', name: 'kube-root-ca.crt' };
    const data = async () => (await sim.client.get(configMaps, ref)).data;
    expect(await data()).toEqual({ 'ca.crt': 'the CA' });
    await sim.client.patch(configMaps, ref, { data: { 'ca.crt': 'mine', more: 'x' } });
    await sim.settle();
    expect(await data()).toEqual({ 'ca.crt': 'the CA' });
    await sim.client.delete(configMaps, ref);
    await sim.settle();
    expect(await data()).toEqual({ 'ca.crt': 'the CA' });
  });
});

describe('a Secret for a token', () => {
  const ref = { ...inDefault, name: 'tok' };
  beforeEach(async () => {
    const metadata = { ...inDefault, name: 'robot' };
    await sim.client.create(serviceAccounts, {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata,
    });
    const annotations = { 'kubernetes.io/service-account.name': 'robot' };
    await sim.client.create(secrets, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { ...ref, annotations },
      type: 'kubernetes.io/service-account-token',
    });
    await sim.settle();
  });

  it('is filled', async () => {
    const { data = {}, metadata } = await sim.client.get(secrets, ref);
    const texts = Object.entries(data).map(([key, value]) => [key, atob(value)]);
    expect(Object.fromEntries(texts)).toEqual({
      'ca.crt': 'the CA',
      namespace: 'default',
      token: 'a token of default/robot',
    });
    const { uid } = (await sim.client.get(serviceAccounts, { ...inDefault, name: 'robot' }))
      .metadata;
    expect(metadata.annotations?.['kubernetes.io/service-account.uid']).toBe(uid);
  });

  it('goes with its account', async () => {
    await sim.client.delete(serviceAccounts, { ...inDefault, name: 'robot' });
    await sim.settle();
    expect(await refusal(sim.client.get(secrets, ref))).toBe('secrets "tok" not found');
  });
});

describe('a certificate request', () => {
  const signerName = 'kubernetes.io/kube-apiserver-client';
  const approved = {
    type: 'Approved',
    status: 'True',
    reason: 'Test',
    message: '',
  };

  async function ask(client: RestClient, organizations: string[] = ['devs']) {
    const { requestPem } = makeCertificateRequest({ commonName: 'carol', organizations });
    return client.create(certificateSigningRequests, {
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'CertificateSigningRequest',
      metadata: { name: 'carol' },
      spec: { request: btoa(requestPem), signerName, usages: ['client auth'] },
    });
  }

  async function approve(client: RestClient, request: CertificateSigningRequest): Promise<string> {
    const status = { conditions: [approved] };
    return refusal(
      client.updateSubresource(certificateSigningRequests, { name: 'carol' }, 'approval', {
        ...request,
        status,
      }),
    );
  }

  it('that was approved gets its certificate', async () => {
    const request = await ask(sim.client);
    await sim.settle();
    const read = async () => sim.client.get(certificateSigningRequests, { name: 'carol' });
    expect((await read()).status?.certificate).toBeUndefined();
    expect(await approve(sim.client, request)).toBe('');
    await sim.settle();
    expect((await read()).status?.certificate).toBe(btoa('a certificate'));
  });

  it('is approved and signed by those who may for its signer', async () => {
    const approver = 'system:certificates.k8s.io:kube-apiserver-client-approver';
    const resources = [
      'certificatesigningrequests',
      'certificatesigningrequests/approval',
      'certificatesigningrequests/status',
    ];
    const rules = [{ apiGroups: ['certificates.k8s.io'], resources, verbs: ['*'] }];
    const metadata = { name: 'requests' };
    await sim.client.create(clusterRoles, { apiVersion, kind: 'ClusterRole', metadata, rules });
    const everywhere = (name: string, to: string) =>
      sim.client.create(clusterRoleBindings, {
        ...bind(to, name),
        kind: 'ClusterRoleBinding',
        metadata: { name: `${to}-${name.length}` },
      });
    await everywhere('requests', 'bob');
    const bob = sim.clientAs('bob');
    const request = await ask(bob);
    expect(request.spec.username).toBe('bob');
    expect(await approve(bob, request)).toBe(
      `certificatesigningrequests.certificates.k8s.io "carol" is forbidden: user not permitted to approve requests with signerName "${signerName}"`,
    );
    await everywhere(approver, 'bob');
    expect(await approve(bob, request)).toBe('');
    await sim.settle();
    const signed = await bob.get(certificateSigningRequests, { name: 'carol' });
    const status = { ...signed.status, conditions: [approved, { ...approved, type: 'Failed' }] };
    expect(
      await refusal(bob.updateStatus(certificateSigningRequests, { ...signed, status })),
    ).toContain('user not permitted to sign requests');
  });

  it('is dated by the server, and goes an hour after it was decided', async () => {
    const request = await ask(sim.client);
    expect(await approve(sim.client, request)).toBe('');
    await sim.settle();
    const read = async () => sim.client.get(certificateSigningRequests, { name: 'carol' });
    const now = rfc3339(sim.clock.now());
    const times = { lastUpdateTime: now, lastTransitionTime: now };
    expect((await read()).status?.conditions).toEqual([{ ...approved, ...times }]);
    await sim.advance(3_590_000);
    expect((await read()).metadata.name).toBe('carol');
    await sim.advance(15_000);
    expect(await refusal(read())).toContain('not found');
  });

  describe('of an agent', () => {
    const ref = { name: 'pi' };
    const rights = 'system:certificates.k8s.io:certificatesigningrequests:';
    const subject = { commonName: 'system:node:pi', organizations: ['system:nodes'] };

    async function askForNode(client: RestClient, more: Partial<RequestSubject> = {}) {
      const { requestPem } = makeCertificateRequest({ ...subject, ...more });
      await client.create(certificateSigningRequests, {
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'CertificateSigningRequest',
        metadata: ref,
        spec: {
          request: btoa(requestPem),
          signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
          usages: ['client auth', 'digital signature'],
        },
      });
      await sim.settle();
    }

    async function decision() {
      const { status = {} } = await sim.client.get(certificateSigningRequests, ref);
      return [status.conditions?.[0]?.message, status.certificate];
    }

    async function grant(user: string, right: string) {
      await sim.client.create(clusterRoleBindings, {
        ...bind(user, `${rights}${right}`),
        kind: 'ClusterRoleBinding',
        metadata: { name: right },
      });
    }

    it('is approved and signed for who may have any node approved', async () => {
      await grant('joiner', 'nodeclient');
      await sim.client.create(clusterRoleBindings, {
        ...bind('joiner', 'system:node-bootstrapper'),
        kind: 'ClusterRoleBinding',
        metadata: { name: 'joiner' },
      });
      await askForNode(sim.clientAs('joiner'));
      expect(await decision()).toEqual([
        'Auto approving kubelet client certificate after SubjectAccessReview.',
        btoa('a certificate'),
      ]);
    });

    it('is approved for the node itself', async () => {
      await grant('system:node:pi', 'selfnodeclient');
      await askForNode(sim.clientAs('system:node:pi', ['system:nodes']));
      expect(await decision()).toEqual([
        'Auto approving self kubelet client certificate after SubjectAccessReview.',
        btoa('a certificate'),
      ]);
    });

    it('is approved when the right comes later, and never for another node', async () => {
      await askForNode(sim.clientAs('system:node:other', ['system:nodes']));
      await grant('system:node:other', 'selfnodeclient');
      await sim.advance(60_000);
      expect(await decision()).toEqual([undefined, undefined]);
      await grant('system:node:other', 'nodeclient');
      await sim.advance(120_000);
      expect((await decision())[1]).toBe(btoa('a certificate'));
    });

    it('that the signer would refuse waits for a person', async () => {
      await askForNode(sim.client, { dnsNames: ['pi'] });
      expect(await decision()).toEqual([undefined, undefined]);
    });
  });

  it('for the masters is refused', async () => {
    expect(await refusal(ask(sim.client, ['system:masters']))).toContain(
      'use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed',
    );
  });
});
