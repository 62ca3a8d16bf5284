// Who may what, with an unmodified kubectl 1.35 against a real cluster: roles, tokens, certificates,
// and what a pod finds of its service account.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, eventually, type ToolResult } from '../setup/cluster.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';
import { makeCertificateRequest } from '../setup/certificate-request.ts';

const cluster = new Cluster();
const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-access-'));

beforeAll(async () => {
  ensureTestImages();
  await cluster.start();
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await cluster.destroy();
});

/** What a command prints, as nobody but the bearer of the token. */
async function withToken(token: string, ...args: string[]): Promise<ToolResult> {
  const ca = path.join(folder, 'ca.crt');
  writeFileSync(ca, readFileSync(path.join(cluster.dataDirectory, 'pki/ca.crt')));
  const access = ['--server', cluster.apiUrl, '--certificate-authority', ca, '--token', token];
  return cluster.kubectl('--kubeconfig', '/dev/null', ...access, ...args);
}

async function account(name: string): Promise<string> {
  await cluster.kubectlOk('create', 'serviceaccount', name);
  return (await cluster.kubectlOk('create', 'token', name)).trim();
}

async function canI(user: string, ...what: string[]): Promise<string> {
  return (await cluster.kubectl('auth', 'can-i', ...what, '--as', user)).stdout.trim();
}

describe('kubectl auth', () => {
  it('whoami tells certificate and groups', async () => {
    expect(
      (await cluster.kubectlOk('auth', 'whoami')).split('\n').map((line) => line.trim()),
    ).toEqual([
      'ATTRIBUTE   VALUE',
      'Username    kubernetes-admin',
      'Groups      [system:masters system:authenticated]',
      '',
    ]);
  });

  it('can-i answers for oneself and, as somebody else, for them', async () => {
    expect((await cluster.kubectlOk('auth', 'can-i', '*', '*')).trim()).toBe('yes');
    expect(await canI('nobody', 'get', 'pods')).toBe('no');
    await cluster.kubectlOk('create', 'rolebinding', 'ida', '--clusterrole=view', '--user=ida');
    await eventually(async () => (await canI('ida', 'get', 'pods')) === 'yes', 'ida may');
    expect(await canI('ida', 'get', 'secrets')).toBe('no');
    expect(await canI('ida', 'get', 'pods', '-n', 'kube-system')).toBe('no');
    expect(await canI('ida', 'get', '/version')).toBe('yes');
  });

  it('can-i --list shows what a role gives', async () => {
    const rules = ['--verb=get,list', '--resource=pods,deployments.apps', '--resource-name=web'];
    await cluster.kubectlOk('create', 'role', 'lea', ...rules);
    await cluster.kubectlOk('create', 'rolebinding', 'lea', '--role=lea', '--user=lea');
    const list = await cluster.kubectlOk('auth', 'can-i', '--list', '--as', 'lea');
    const rows = list.split('\n').map((line) => line.trim().split(/\s{2,}/));
    expect(rows).toContainEqual(['pods', '[]', '[web]', '[get list]']);
    expect(rows).toContainEqual(['deployments.apps', '[]', '[web]', '[get list]']);
  });

  it('reconcile makes roles as a file says', async () => {
    const file = path.join(folder, 'role.yaml');
    const metadata = '{name: reconciled, namespace: default}';
    const rules = '[{apiGroups: [""], resources: [pods], verbs: [get]}]';
    writeFileSync(
      file,
      `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: ${metadata}, rules: ${rules}}`,
    );
    expect(await cluster.kubectlOk('auth', 'reconcile', '-f', file)).toContain('reconciled');
  });
});

describe('a service account', () => {
  it('is known by its token and does what its role says, no more', async () => {
    const token = await account('robot');
    const whoami = await withToken(
      token,
      'auth',
      'whoami',
      '-o',
      'jsonpath={.status.userInfo.username}',
    );
    expect(whoami.stdout).toBe('system:serviceaccount:default:robot');
    expect((await withToken(token, 'get', 'configmaps')).stderr).toBe(
      'Error from server (Forbidden): configmaps is forbidden: User "system:serviceaccount:default:robot" cannot list resource "configmaps" in API group "" in the namespace "default"\n',
    );
    await cluster.kubectlOk('create', 'role', 'maps', '--verb=get,list', '--resource=configmaps');
    await cluster.kubectlOk(
      'create',
      'rolebinding',
      'maps',
      '--role=maps',
      '--serviceaccount=default:robot',
    );
    const listed = await withToken(token, 'get', 'configmaps', '-o', 'name');
    expect(listed.stdout).toContain('configmap/kube-root-ca.crt');
    expect((await withToken(token, 'delete', 'configmap', 'kube-root-ca.crt')).code).toBe(1);
  });

  it('is unknown once it is gone', async () => {
    const token = await account('brief');
    expect((await withToken(token, 'auth', 'whoami')).code).toBe(0);
    await cluster.kubectlOk('delete', 'serviceaccount', 'brief');
    expect((await withToken(token, 'auth', 'whoami')).stderr).toContain('Unauthorized');
  });

  it('grants nothing that it does not hold', async () => {
    const token = await account('chief');
    await cluster.kubectlOk(
      'create',
      'rolebinding',
      'chief',
      '--clusterrole=admin',
      '--serviceaccount=default:chief',
    );
    const bind = (role: string) =>
      withToken(
        token,
        'create',
        'rolebinding',
        `to-${role}`,
        `--clusterrole=${role}`,
        '--user=eve',
      );
    expect((await bind('edit')).stdout).toBe(
      'rolebinding.rbac.authorization.k8s.io/to-edit created\n',
    );
    expect((await bind('cluster-admin')).stderr).toBe(
      'error: failed to create rolebinding: rolebindings.rbac.authorization.k8s.io "to-cluster-admin" is forbidden: user "system:serviceaccount:default:chief" (groups=["system:serviceaccounts" "system:serviceaccounts:default" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n' +
        '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}\n{NonResourceURLs:["*"], Verbs:["*"]}\n',
    );
  });

  it('has a token in a Secret that asks for one', async () => {
    await account('keeper');
    const file = path.join(folder, 'secret.yaml');
    const annotations = '{kubernetes.io/service-account.name: keeper}';
    const metadata = `{name: keeper, annotations: ${annotations}}`;
    const type = 'kubernetes.io/service-account-token';
    writeFileSync(file, `{apiVersion: v1, kind: Secret, metadata: ${metadata}, type: ${type}}`);
    await cluster.kubectlOk('create', '-f', file);
    const token = await eventually(async () => {
      const template = 'jsonpath={.data.token}';
      const text = await cluster.kubectlOk('get', 'secret', 'keeper', '-o', template);
      return text !== '' && Buffer.from(text, 'base64').toString('utf8');
    }, 'it is issued');
    expect((await withToken(token, 'auth', 'whoami')).stdout).toContain('default:keeper');
  });
});

describe('a pod', () => {
  it('finds token, authority and namespace of its account, good until the pod is gone', async () => {
    const command = ['sleep', '3600'];
    await cluster.kubectlOk(
      'run',
      'inside',
      `--image=${webImage}`,
      '--restart=Never',
      '--command',
      '--',
      ...command,
    );
    await cluster.kubectlOk('wait', '--for=condition=Ready', 'pod/inside', '--timeout=60s');
    const uid = await cluster.kubectlOk('get', 'pod', 'inside', '-o', 'jsonpath={.metadata.uid}');
    const volume = await cluster.kubectlOk(
      'get',
      'pod',
      'inside',
      '-o',
      'jsonpath={.spec.volumes[0].name}',
    );
    const files = path.join(cluster.dataDirectory, 'agent/pods', uid, 'volumes', volume);
    const [token, ca, namespace] = ['token', 'ca.crt', 'namespace'].map((name) =>
      readFileSync(path.join(files, name), 'utf8'),
    );
    expect(namespace).toBe('default');
    expect(ca).toBe(readFileSync(path.join(cluster.dataDirectory, 'pki/ca.crt'), 'utf8'));
    const whoami = await withToken(token ?? '', 'auth', 'whoami', '-o', 'json');
    expect(JSON.parse(whoami.stdout)).toMatchObject({
      status: {
        userInfo: {
          username: 'system:serviceaccount:default:default',
          extra: {
            'authentication.kubernetes.io/pod-name': ['inside'],
            'authentication.kubernetes.io/pod-uid': [uid],
          },
        },
      },
    });
    await cluster.kubectlOk('delete', 'pod', 'inside', '--grace-period=1');
    expect((await withToken(token ?? '', 'auth', 'whoami')).stderr).toContain('Unauthorized');
  });
});

describe('a certificate request', () => {
  it('that is approved yields a certificate that works', async () => {
    const { requestPem, keyPem } = makeCertificateRequest({
      commonName: 'carol',
      organizations: ['devs'],
    });
    const request = Buffer.from(requestPem).toString('base64');
    const signerName = 'kubernetes.io/kube-apiserver-client';
    const file = path.join(folder, 'csr.yaml');
    writeFileSync(
      file,
      `{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: carol}, spec: {request: ${request}, signerName: ${signerName}, usages: [client auth], expirationSeconds: 3600}}`,
    );
    await cluster.kubectlOk('create', '-f', file);
    await cluster.kubectlOk('certificate', 'approve', 'carol');
    const pem = await eventually(async () => {
      const text = await cluster.kubectlOk(
        'get',
        'csr',
        'carol',
        '-o',
        'jsonpath={.status.certificate}',
      );
      return text !== '' && Buffer.from(text, 'base64').toString('utf8');
    }, 'it is issued');
    const [certificate, key] = [path.join(folder, 'carol.crt'), path.join(folder, 'carol.key')];
    writeFileSync(certificate, pem);
    writeFileSync(key, keyPem);
    const text = execFileSync('openssl', [
      'x509',
      '-in',
      certificate,
      '-noout',
      '-subject',
      '-ext',
      'extendedKeyUsage',
    ]);
    expect(String(text)).toMatch(/O = devs, CN = carol[^]*TLS Web Client Authentication/);
    const access = ['--client-certificate', certificate, '--client-key', key];
    const ca = path.join(cluster.dataDirectory, 'pki/ca.crt');
    const server = ['--server', cluster.apiUrl, '--certificate-authority', ca];
    const whoami = await cluster.kubectl(
      '--kubeconfig',
      '/dev/null',
      ...server,
      ...access,
      'auth',
      'whoami',
    );
    expect(whoami.stdout).toMatch(/Username +carol\nGroups +\[devs system:authenticated\]/);
    expect(await cluster.kubectlOk('get', 'csr', 'carol')).toMatch(/60m +Approved,Issued/);
  });
});
