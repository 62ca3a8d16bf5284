// The audit log through the whole chain: what is told of a request, when, and as whose.
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { AssertionError } from '#kube/base/assert.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { notFound, unauthorized } from '#kube/machinery/status.ts';
import { createChain, type ChainDeps } from '../chain.ts';
import type { ApiRequest, ApiResponse, UserInfo } from '../http.ts';
import { FlowControl } from '../flowcontrol/flow-control.ts';
import { ServerMetrics } from '../metrics.ts';
import { AuditLog } from './audit-log.ts';
import type { AuditPolicy } from './policy.ts';

const alice: UserInfo = { name: 'alice', groups: ['devs'] };

function audited(policy: AuditPolicy, changes: Partial<ChainDeps> = {}) {
  const clock = new ManualClock();
  const lines: string[] = [];
  let flushes = 0;
  let hasRoom = true;
  const sink = {
    write(line: string) {
      if (hasRoom) lines.push(line);
      return hasRoom;
    },
    flushSync: () => void (flushes += 1),
  };
  const audit = new AuditLog({ policy, sink, clock });
  const answer = createChain({
    authenticate: async ({ user }) => {
      if (user === undefined) throw unauthorized();
      return user;
    },
    authorize: () => ({ allowed: true, reason: 'of course' }),
    resources: async () => ({ status: 200, headers: {}, body: '{}' }),
    paths: async () => ({ status: 200, headers: {}, body: 'ok' }),
    clock,
    random: seededRandom(1),
    logger: silentLogger,
    metrics: new ServerMetrics(),
    flowControl: new FlowControl({ clock }),
    audit,
    ...changes,
  });
  return {
    clock,
    audit,
    lines,
    fill: () => (hasRoom = false),
    flushes: () => flushes,
    events: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>),
    ask(url: string, more: Partial<ApiRequest> = {}): Promise<ApiResponse> {
      const [path = '', query = ''] = url.split('?');
      return answer({
        method: 'GET',
        path,
        query: new URLSearchParams(query),
        headers: {},
        readBody: async () => new Uint8Array(),
        signal: new AbortController().signal,
        user: alice,
        ...more,
      });
    },
  };
}

const all = (level: 'Metadata' | 'Request' | 'RequestResponse'): AuditPolicy => ({
  rules: [{ level }],
  omitStages: ['RequestReceived'],
});

describe('an event', () => {
  it('is an audit.k8s.io/v1 Event, and names the answer by its Audit-Id', async () => {
    const { ask, events, clock } = audited({ rules: [{ level: 'Metadata' }] });
    const start = new Date(clock.now()).toISOString().slice(0, 23);
    const { headers } = await ask('/apis/apps/v1/namespaces/a/deployments/b/scale?pretty=1', {
      headers: { 'user-agent': 'kubectl', 'impersonate-user': 'bob' },
      remoteAddress: '10.0.0.9',
    });
    const received = {
      kind: 'Event',
      apiVersion: 'audit.k8s.io/v1',
      level: 'Metadata',
      auditID: headers['audit-id'],
      stage: 'RequestReceived',
      requestURI: '/apis/apps/v1/namespaces/a/deployments/b/scale?pretty=1',
      verb: 'get',
      user: { username: 'alice', groups: ['devs'] },
      sourceIPs: ['10.0.0.9'],
      userAgent: 'kubectl',
      objectRef: {
        resource: 'deployments',
        namespace: 'a',
        name: 'b',
        apiGroup: 'apps',
        apiVersion: 'v1',
        subresource: 'scale',
      },
      requestReceivedTimestamp: `${start}000Z`,
      stageTimestamp: `${start}000Z`,
    };
    expect(events()).toEqual([
      received,
      {
        ...received,
        stage: 'ResponseComplete',
        impersonatedUser: { username: 'bob', groups: ['system:authenticated'] },
        responseStatus: { metadata: {}, code: 200 },
        annotations: {
          'authorization.k8s.io/decision': 'allow',
          'authorization.k8s.io/reason': 'of course',
        },
      },
    ]);
  });

  it('of a refusal has the whole status; of wrong credentials no user', async () => {
    const missing = notFound({ group: '', resource: 'pods' }, 'x');
    const { ask, events } = audited(all('Metadata'), { resources: () => Promise.reject(missing) });
    await ask('/api/v1/namespaces/a/pods/x');
    await ask('/version', { user: undefined as never });
    expect(events().map(({ responseStatus, user }) => ({ responseStatus, user }))).toMatchObject([
      { responseStatus: { status: 'Failure', reason: 'NotFound', code: 404 } },
      { responseStatus: { status: 'Failure', reason: 'Unauthorized', code: 401 }, user: {} },
    ]);
  });

  it('has what admission put down', async () => {
    const { ask, events } = audited(all('Metadata'), {
      resources: async ({ audit }) => {
        if (audit !== undefined) audit.annotations = { 'policy.example.com/why': 'odd' };
        return { status: 201, headers: {}, body: '{}' };
      },
    });
    await ask('/api/v1/namespaces/a/pods', { method: 'POST' });
    expect(events()[0]).toMatchObject({ annotations: { 'policy.example.com/why': 'odd' } });
  });

  it('says who was forbidden what', async () => {
    const { ask, events } = audited(all('Metadata'), {
      authorize: () => ({ allowed: false, reason: 'no role' }),
    });
    await ask('/api/v1/pods');
    expect(events()[0]).toMatchObject({
      responseStatus: { code: 403 },
      annotations: { 'authorization.k8s.io/decision': 'forbid' },
    });
  });

  it('of a stream comes when it begins, and again when it ends', async () => {
    async function* stream() {
      yield 'event\n';
    }
    const { ask, events } = audited(all('RequestResponse'), {
      resources: async () => ({ status: 200, headers: {}, body: stream() }),
    });
    const { body } = await ask('/api/v1/pods?watch=true');
    expect(events().map(({ stage }) => stage)).toEqual(['ResponseStarted']);
    for await (const _ of body as AsyncIterable<string>);
    expect(events().map(({ stage }) => stage)).toEqual(['ResponseStarted', 'ResponseComplete']);
  });

  it("of a programmer's error is in the file before the process ends", async () => {
    const { ask, events, flushes } = audited(all('Metadata'), {
      resources: () => Promise.reject(new AssertionError('broken')),
    });
    await expect(ask('/api/v1/pods')).rejects.toThrow('broken');
    expect(events().map(({ stage }) => stage)).toEqual(['Panic']);
    expect(flushes()).toBe(1);
  });
});

describe('bodies', () => {
  it('that are too deep to be written again are told as text, and spoil no answer', async () => {
    const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
    const { ask, events } = audited(all('Request'), {
      resources: async (request) => {
        await request.readBody();
        return { status: 400, headers: {}, body: '{}' };
      },
    });
    const readBody = async () => Buffer.from(deep);
    const { status } = await ask('/api/v1/namespaces/a/pods', { method: 'POST', readBody });
    expect([status, events()[0]?.['requestObject']]).toEqual([400, deep]);
  });

  const body = '{"kind":"ConfigMap","metadata":{"name":"b","managedFields":[{}]},"data":{"k":"v"}}';
  const put = {
    method: 'PUT',
    readBody: async () => Buffer.from(body),
  } as const;
  const resources: ChainDeps['resources'] = async (request) => {
    await request.readBody();
    return {
      status: 200,
      headers: { 'content-encoding': 'gzip' },
      body: gzipSync(`${body}\n`),
    };
  };
  const url = '/api/v1/namespaces/a/configmaps/b';
  const cases = [
    { level: 'Metadata', request: false, response: false },
    { level: 'Request', request: true, response: false },
    { level: 'RequestResponse', request: true, response: true },
  ] as const;
  for (const { level, request, response } of cases)
    it(`are told at ${level}: request ${request}, response ${response}`, async () => {
      const { ask, events } = audited(all(level), { resources });
      await ask(url, put);
      const [event] = events();
      expect(event?.['requestObject']).toEqual(request ? JSON.parse(body) : undefined);
      expect(event?.['responseObject']).toEqual(response ? JSON.parse(body) : undefined);
    });

  it('go without managed fields if the policy says so', async () => {
    const policy = { ...all('RequestResponse'), omitManagedFields: true };
    const { ask, lines } = audited(policy, { resources });
    await ask(url, put);
    expect(lines.join()).toContain('"k":"v"');
    expect(lines.join()).not.toContain('managedFields');
  });

  it('of secrets are in no line, whatever the policy says', async () => {
    const { ask, lines } = audited(all('RequestResponse'), { resources });
    await ask('/api/v1/namespaces/a/secrets/b', put);
    expect(lines).toHaveLength(1);
    expect(lines.join()).not.toContain('"k"');
  });
});

it('a line that the sink has no room for is counted, and holds up nobody', async () => {
  const { ask, audit, fill } = audited(all('Metadata'));
  await ask('/api/v1/pods');
  fill();
  expect((await ask('/api/v1/pods')).status).toBe(200);
  expect(audit.counts()).toMatchObject({ events: 1, lost: 1 });
});
