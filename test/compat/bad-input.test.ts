// What a person's mistakes lead to: the same Status, code, reason and wording as Kubernetes.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { Cluster } from '../setup/cluster.ts';

const cluster = new Cluster(['--no-agent']);

beforeAll(async () => void (await cluster.start()));
afterAll(() => cluster.destroy());

interface Kubeconfig {
  readonly clusters: readonly { readonly cluster: Record<string, string> }[];
  readonly users: readonly { readonly user: Record<string, string> }[];
}

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

function send(
  method: string,
  path: string,
  body: string,
  contentType = 'application/json',
): Promise<Answer> {
  const config = parse(readFileSync(cluster.kubeconfig, 'utf8')) as Kubeconfig;
  const decode = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64');
  const user = config.users[0]?.user ?? {};
  return new Promise((resolve, reject) => {
    const outgoing = request(
      `${cluster.apiUrl}${path}`,
      {
        method,
        headers: { 'content-type': contentType, 'content-length': Buffer.byteLength(body) },
        ca: decode(config.clusters[0]?.cluster['certificate-authority-data']),
        cert: decode(user['client-certificate-data']),
        key: decode(user['client-key-data']),
      },
      (incoming) => {
        let text = '';
        incoming.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        incoming.on('end', () => {
          try {
            resolve({
              status: incoming.statusCode ?? 0,
              body: JSON.parse(text) as Record<string, unknown>,
            });
          } catch (error) {
            reject(new Error(`not JSON: ${text}`, { cause: error }));
          }
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

const configMaps = '/api/v1/namespaces/default/configmaps';
const deployments = '/apis/apps/v1/namespaces/default/deployments';

const pod = (spec: string, name = 'p'): string =>
  `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"${name}"},"spec":${spec}}`;

const cases = [
  {
    name: 'malformed JSON',
    ask: ['POST', configMaps, '{"a":'],
    want: { code: 400, reason: 'BadRequest' },
    says: 'unexpected end of JSON input',
  },
  {
    name: 'an unknown field, strictly',
    ask: [
      'POST',
      `${configMaps}?fieldValidation=Strict`,
      '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"dota":{}}',
    ],
    want: { code: 400, reason: 'BadRequest' },
    says: 'strict decoding error: unknown field "dota"',
  },
  {
    name: 'a wrong type',
    ask: [
      'POST',
      deployments,
      '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":"three"}}',
    ],
    want: { code: 400, reason: 'BadRequest' },
    says: 'json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32',
  },
  {
    name: 'an invalid name',
    ask: [
      'POST',
      '/api/v1/namespaces/default/pods',
      pod('{"containers":[{"name":"a","image":"b"}]}', 'Web_1'),
    ],
    want: { code: 422, reason: 'Invalid' },
    says: 'Pod "Web_1" is invalid: metadata.name: Invalid value: "Web_1": a lowercase RFC 1123 subdomain must consist of',
  },
  {
    name: 'no containers',
    ask: ['POST', '/api/v1/namespaces/default/pods', pod('{"containers":[]}')],
    want: { code: 422, reason: 'Invalid' },
    says: 'Pod "p" is invalid: spec.containers: Required value',
  },
  {
    name: 'an unknown kind of resource',
    ask: ['GET', '/api/v1/namespaces/default/gizmos', ''],
    want: { code: 404, reason: 'NotFound' },
    says: 'the server could not find the requested resource',
  },
  {
    name: 'a namespace that does not exist',
    ask: [
      'POST',
      '/api/v1/namespaces/nowhere/configmaps',
      '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}',
    ],
    want: { code: 404, reason: 'NotFound' },
    says: 'namespaces "nowhere" not found',
  },
  {
    name: 'a body over 3 MiB',
    ask: [
      'POST',
      configMaps,
      `{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"${'x'.repeat(3 * 1024 * 1024)}"}}`,
    ],
    want: { code: 413, reason: 'RequestEntityTooLarge' },
    says: 'limit is 3145728',
  },
] as const;

describe('a mistake gets the answer Kubernetes gives', () => {
  for (const { name, ask, want, says } of cases)
    it(name, async () => {
      const [method, path, body] = ask;
      const answer = await send(method, path, body);
      const { kind, status, code, reason, message } = answer.body;
      expect({ http: answer.status, kind, status, code, reason }).toEqual({
        http: want.code,
        kind: 'Status',
        status: 'Failure',
        ...want,
      });
      expect(message).toContain(says);
    });

  it('YAML that says too much in 3 MiB, while others are served', async () => {
    const answered: string[] = [];
    const note = (name: string) => (answer: Answer) => {
      answered.push(name);
      return answer;
    };
    const text = `a: [${'1,'.repeat(1_500_000)}]`;
    const bomb = send('POST', configMaps, text, 'application/yaml').then(note('bomb'));
    for (let count = 0; count < 50; count++)
      await send('GET', configMaps, '').then(note(`GET ${count}`));
    const { status, body } = await bomb;
    expect([status, body['kind'], body['reason']]).toEqual([
      413,
      'Status',
      'RequestEntityTooLarge',
    ]);
    expect(answered.at(-1)).toBe('bomb');
    expect((await send('GET', configMaps, '')).status).toBe(200);
  });

  it('but a ConfigMap of 2.9 MiB of YAML is none', async () => {
    const line = `${' '.repeat(40)}setting = value\n`;
    const text = `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: long}\ndata:\n  file: |\n`;
    const lines = Math.floor((2.9 * 1024 * 1024) / line.length);
    const made = await send('POST', configMaps, text + line.repeat(lines), 'application/yaml');
    expect([made.status, made.body['data']]).toEqual([
      201,
      { file: 'setting = value\n'.repeat(lines) },
    ]);
  });

  it('a stale resourceVersion', async () => {
    const made = await send(
      'POST',
      configMaps,
      '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"stale"}}',
    );
    const first = made.body;
    const changed = await send(
      'PUT',
      `${configMaps}/stale`,
      JSON.stringify({ ...first, data: { a: '1' } }),
    );
    expect(changed.status).toBe(200);
    const late = await send(
      'PUT',
      `${configMaps}/stale`,
      JSON.stringify({ ...first, data: { a: '2' } }),
    );
    expect([late.status, late.body['reason'], late.body['message']]).toEqual([
      409,
      'Conflict',
      'Operation cannot be fulfilled on configmaps "stale": the object has been modified; please apply your changes to the latest version and try again',
    ]);
    const now = await send('GET', `${configMaps}/stale`, '');
    expect(now.body['data']).toEqual({ a: '1' });
  });

  it('refuses who shows no certificate', () => {
    const code = execFileSync(
      'curl',
      ['-ks', '-o', '/dev/null', '-w', '%{http_code}', `${cluster.apiUrl}/api/v1/secrets`],
      { encoding: 'utf8' },
    );
    expect(code).toBe('403');
  });
});
