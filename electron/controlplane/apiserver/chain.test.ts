import { PassThrough } from 'node:stream';
import { beforeEach, describe, expect, it } from 'vitest';
import { AssertionError } from '#kube/base/assert.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { conflict, staleMessage } from '#kube/machinery/status.ts';
import {
  createAuthenticator,
  tokenVerifier,
  type TokenVerifier,
} from './identity/authentication.ts';
import { createAuthorizer } from './identity/authorization.ts';
import { createChain, type ChainDeps } from './chain.ts';
import type { ApiRequest, ApiResponse, UserInfo } from './http.ts';
import { FlowControl } from './flowcontrol/flow-control.ts';
import { ServerMetrics } from './metrics.ts';
import { parseRequestInfo } from './request-info.ts';
import { bootstrapLevels } from './flowcontrol/bootstrap.ts';
import { bootstrapRbac } from './identity/bootstrap/policy.ts';
import { GrantCache } from './identity/rbac/grants.ts';
import { indexRbac } from './identity/rbac/objects.ts';

const admin: UserInfo = { name: 'admin', groups: ['system:masters'] };
const alice: UserInfo = { name: 'alice', groups: ['devs'] };

const objects = indexRbac(bootstrapRbac);
const verifyToken: TokenVerifier = async (token, audiences) =>
  token === 'secret' ? { user: alice, audiences } : undefined;

let clock: ManualClock;
let metrics: ServerMetrics;
let seen: ApiRequest | undefined;

beforeEach(() => {
  clock = new ManualClock();
  metrics = new ServerMetrics();
  seen = undefined;
});

function chain(changes: Partial<ChainDeps> = {}): ReturnType<typeof createChain> {
  return createChain({
    authenticate: createAuthenticator(tokenVerifier([verifyToken]), ['api']),
    authorize: createAuthorizer({
      grants: new GrantCache(() => objects),
      nodePods: { podsOnNode: () => [] },
    }),
    resources: async (request) => {
      seen = request;
      return { status: 200, headers: {}, body: 'resource' };
    },
    paths: async (request) => {
      seen = request;
      return { status: 200, headers: {}, body: 'path' };
    },
    clock,
    random: seededRandom(1),
    logger: silentLogger,
    metrics,
    flowControl: new FlowControl({ clock }),
    ...changes,
  });
}

function ask(url: string, changes: Partial<ApiRequest> = {}): ApiRequest {
  const [path = '', query = ''] = url.split('?');
  return {
    method: 'GET',
    path,
    query: new URLSearchParams(query),
    headers: {},
    readBody: async () => new Uint8Array(),
    signal: new AbortController().signal,
    ...changes,
  };
}

interface Summary {
  readonly status: number;
  readonly reason: unknown;
  readonly message: unknown;
}

function summary(response: ApiResponse): Summary {
  const { reason, message } = JSON.parse(response.body as string) as Record<string, unknown>;
  return { status: response.status, reason, message };
}

/** A handler that answers when told to. */
function held(): { handler: ChainDeps['resources']; release(response: ApiResponse): void } {
  let resolve = (_response: ApiResponse): void => undefined;
  return {
    handler: () => new Promise((done) => (resolve = done)),
    release: (response) => resolve(response),
  };
}

/** Lets all that is ready run: promises, no time. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe('authentication', () => {
  it('takes an identity that is known already, and adds the group of the authenticated', async () => {
    await chain()(ask('/api/v1/pods', { user: admin }));
    expect(seen?.user).toEqual({
      name: 'admin',
      groups: ['system:masters', 'system:authenticated'],
    });
  });

  it('takes a bearer token', async () => {
    await chain()(ask('/api', { headers: { authorization: 'Bearer secret' } }));
    expect(seen?.user?.name).toBe('alice');
  });

  it('answers 401 to a wrong token, even where anonymous may go', async () => {
    const headers = { authorization: 'Bearer wrong' };
    expect(summary(await chain()(ask('/version', { headers })))).toEqual({
      status: 401,
      reason: 'Unauthorized',
      message: 'Unauthorized',
    });
  });

  it('without a credential is anonymous: version yes, anything else 403', async () => {
    expect((await chain()(ask('/version'))).body).toBe('path');
    expect(summary(await chain()(ask('/api/v1/pods')))).toEqual({
      status: 403,
      reason: 'Forbidden',
      message:
        'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" at the cluster scope',
    });
  });
});

describe('impersonation', () => {
  const cases: readonly {
    readonly name: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly want: UserInfo;
  }[] = [
    {
      name: 'a user gets the group of the authenticated',
      headers: { 'impersonate-user': 'bob' },
      want: { name: 'bob', groups: ['system:authenticated'] },
    },
    {
      name: 'groups come along',
      headers: { 'impersonate-user': 'bob', 'impersonate-group': 'devs\nCN=ops,OU=home' },
      want: { name: 'bob', groups: ['devs', 'CN=ops,OU=home', 'system:authenticated'] },
    },
    {
      name: 'a service account gets its groups',
      headers: { 'impersonate-user': 'system:serviceaccount:a:robot' },
      want: {
        name: 'system:serviceaccount:a:robot',
        groups: ['system:serviceaccounts', 'system:serviceaccounts:a', 'system:authenticated'],
      },
    },
    {
      name: 'anonymous is not authenticated',
      headers: { 'impersonate-user': 'system:anonymous' },
      want: { name: 'system:anonymous', groups: ['system:unauthenticated'] },
    },
  ];
  for (const { name, headers, want } of cases)
    it(name, async () => {
      await chain()(ask('/version', { user: admin, headers }));
      expect(seen?.user).toEqual(want);
      expect(seen?.headers).toEqual({});
    });

  it('is subject to the rights of the one impersonated', async () => {
    const headers = { 'impersonate-user': 'bob' };
    const response = await chain()(ask('/api/v1/nodes', { user: admin, headers }));
    expect(summary(response).message).toBe(
      'nodes is forbidden: User "bob" cannot list resource "nodes" in API group "" at the cluster scope',
    );
  });

  it('needs the right to impersonate', async () => {
    const headers = { 'impersonate-user': 'admin', 'impersonate-group': 'system:masters' };
    const response = await chain()(ask('/version', { user: alice, headers }));
    expect(summary(response)).toEqual({
      status: 403,
      reason: 'Forbidden',
      message:
        'users "admin" is forbidden: User "alice" cannot impersonate resource "users" in API group "" at the cluster scope',
    });
    expect(seen).toBeUndefined();
  });

  it('of groups alone is refused', async () => {
    const headers = { 'impersonate-group': 'system:masters' };
    const response = await chain()(ask('/version', { user: admin, headers }));
    expect(response.status).toBe(500);
  });
});

describe('errors', () => {
  it('are Status bodies whatever the handler throws', async () => {
    const resources = async (): Promise<never> => {
      throw conflict({ group: '', resource: 'pods' }, 'x', staleMessage);
    };
    const response = await chain({ resources })(ask('/api/v1/pods', { user: admin }));
    expect([summary(response).reason, response.headers['content-type']]).toEqual([
      'Conflict',
      'application/json',
    ]);
  });

  it('that nobody expected are 500 and show no stack', async () => {
    const resources = async (): Promise<never> => {
      throw new TypeError('x is not a function');
    };
    const response = await chain({ resources })(ask('/api/v1/pods', { user: admin }));
    expect(summary(response)).toEqual({
      status: 500,
      reason: 'InternalError',
      message: 'Internal error occurred: x is not a function',
    });
    expect(response.body).not.toContain('chain.test');
  });

  it("of the programmer end the process: they aren't caught", async () => {
    const resources = async (): Promise<never> => {
      throw new AssertionError('impossible');
    };
    await expect(chain({ resources })(ask('/api/v1/pods', { user: admin }))).rejects.toThrow(
      AssertionError,
    );
  });

  it('carry an Audit-Id like all answers, the one the client chose if any', async () => {
    const fresh = await chain()(ask('/api/v1/pods'));
    const chosen = await chain()(ask('/api/v1/pods', { headers: { 'audit-id': 'mine' } }));
    expect(fresh.headers['audit-id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(chosen.headers['audit-id']).toBe('mine');
  });
});

async function* endless(): AsyncGenerator<string> {
  yield await new Promise<string>(() => undefined);
}

describe('the deadline', () => {
  const cases = [
    {
      url: '/api/v1/pods',
      limitMs: 60_000,
      message: 'Timeout: request did not complete within 60s',
    },
    {
      url: '/api/v1/pods?timeout=1.5s',
      limitMs: 1500,
      message: 'Timeout: request did not complete within 1.5s',
    },
    {
      url: '/api/v1/pods?timeout=2h',
      limitMs: 60_000,
      message: 'Timeout: request did not complete within 60s',
    },
  ];
  for (const { url, limitMs, message } of cases)
    it(`of ${url} is ${limitMs} ms`, async () => {
      let signal: AbortSignal | undefined;
      const resources = (given: ApiRequest): Promise<ApiResponse> => {
        ({ signal } = given);
        return new Promise(() => undefined);
      };
      const pending = chain({ resources })(ask(url, { user: admin }));
      await settle();
      clock.advance(limitMs - 1);
      expect(signal?.aborted).toBe(false);
      clock.advance(1);
      expect(summary(await pending)).toEqual({ status: 504, reason: 'Timeout', message });
      expect(signal?.aborted).toBe(true);
    });

  const answers = [
    { name: 'leaves the client alone once it has its answer', body: 'whole', isAborted: false },
    { name: 'lets a stream end when its client goes', body: endless(), isAborted: true },
  ];
  it.each(answers)('$name', async ({ body, isAborted }) => {
    const client = new AbortController();
    let signal: AbortSignal | undefined;
    const resources = async (given: ApiRequest): Promise<ApiResponse> => {
      ({ signal } = given);
      return { status: 200, headers: {}, body };
    };
    const request = { ...ask('/api/v1/pods', { user: admin }), signal: client.signal };
    await chain({ resources })(request);
    client.abort();
    expect(signal?.aborted).toBe(isAborted);
  });

  it('does not concern watches', async () => {
    const { handler, release } = held();
    const pending = chain({ resources: handler })(ask('/api/v1/pods?watch=true', { user: admin }));
    await settle();
    clock.advance(3_600_000);
    release({ status: 200, headers: {}, body: 'late' });
    expect((await pending).body).toBe('late');
  });

  // It is read before anybody is known: it must not cost anything.
  it('of endless digits is refused at once', async () => {
    const response = await chain()(ask(`/api/v1/pods?timeout=${'1'.repeat(200_000)}`));
    expect(response.status).toBe(400);
  });

  it('that makes no sense is 400', async () => {
    const response = await chain()(ask('/api/v1/pods?timeout=soon', { user: admin }));
    expect(summary(response)).toEqual({
      status: 400,
      reason: 'BadRequest',
      message: 'invalid timeout specified in the request URL - time: invalid duration "soon"',
    });
  });
});

describe('limits on requests at once', () => {
  /** One seat for people, and no queue. */
  const oneSeat = (): Partial<ChainDeps> => {
    const flowControl = new FlowControl({ clock, seats: 1 });
    const levels = bootstrapLevels.map((level) => {
      const nominalConcurrencyShares = level.metadata.name === 'global-default' ? 1 : 0;
      const limited = { nominalConcurrencyShares, limitResponse: { type: 'Reject' } };
      return level.spec.type === 'Exempt'
        ? level
        : { ...level, spec: { type: 'Limited', limited } };
    });
    flowControl.configure([], levels);
    return { flowControl, longRunningMax: 1 };
  };
  const user: UserInfo = { name: 'eve', groups: [] };
  const authorize = (): { allowed: boolean; reason: string } => ({ allowed: true, reason: '' });

  it('past them clients are told to come again, and let in when one has left', async () => {
    const { handler, release } = held();
    const serve = chain({ resources: handler, ...oneSeat(), authorize });
    const first = serve(ask('/api/v1/pods', { user }));
    await settle();
    const second = await serve(ask('/api/v1/pods', { user }));
    expect([
      summary(second),
      second.headers['retry-after'],
      second.headers['x-kubernetes-pf-flowschema-uid'],
    ]).toEqual([
      {
        status: 429,
        reason: 'TooManyRequests',
        message: 'Too many requests, please try again later.',
      },
      '1',
      '',
    ]);
    release({ status: 200, headers: {}, body: 'done' });
    await first;
    const third = serve(ask('/api/v1/pods', { user }));
    await settle();
    release({ status: 200, headers: {}, body: 'done' });
    expect((await third).status).toBe(200);
  });

  it('count reads, writes and watches apart', async () => {
    const { handler } = held();
    const serve = chain({ resources: handler, longRunningMax: 1, authorize });
    void serve(ask('/api/v1/pods', { user }));
    void serve(ask('/api/v1/pods', { user, method: 'POST' }));
    void serve(ask('/api/v1/pods?watch=true', { user }));
    await settle();
    expect(metrics.render()).toContain(
      'apiserver_current_inflight_requests{request_kind="mutating"} 1',
    );
    expect((await serve(ask('/api/v1/pods?watch=true', { user }))).status).toBe(429);
  });

  it('free a place when a stream ends, even if nobody ever read it', async () => {
    const stop = new AbortController();
    const resources = async (): Promise<ApiResponse> => ({
      status: 200,
      headers: {},
      body: (async function* () {
        yield 'x';
      })(),
    });
    const serve = chain({ resources, ...oneSeat(), authorize });
    const watch = '/api/v1/pods?watch=true';
    await serve(ask(watch, { user, signal: stop.signal }));
    expect((await serve(ask(watch, { user }))).status).toBe(429);
    stop.abort();
    expect((await serve(ask(watch, { user }))).status).toBe(200);
  });

  it("never keep the cluster's own parts from watching", async () => {
    const resources = async (): Promise<ApiResponse> => ({
      status: 200,
      headers: {},
      body: (async function* () {
        yield 'x';
      })(),
    });
    const serve = chain({ resources, longRunningMax: 1, authorize });
    const watch = (name: string, groups: string[]) =>
      serve(ask('/api/v1/pods?watch=true', { user: { name, groups } }));
    await watch('eve', []);
    const own = [
      watch('system:kube-scheduler', []),
      watch('system:node:pi', ['system:nodes']),
      watch('system:serviceaccount:kube-system:x', ['system:serviceaccounts:kube-system']),
      watch('admin', ['system:masters']),
    ];
    expect((await Promise.all(own)).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect((await watch('eve', [])).status).toBe(429);
  });

  it('count a connection that is gone already once', async () => {
    const connection = new PassThrough();
    const resources = async (): Promise<ApiResponse> => {
      connection.destroy();
      return { status: 101, headers: {}, connection };
    };
    const serve = chain({ resources, longRunningMax: 1, authorize });
    await serve(ask('/api/v1/namespaces/a/pods/b/exec', { user }));
    await settle();
    const open = /apiserver_longrunning_requests\{[^}]*\} (-?\d+)/.exec(metrics.render())?.[1];
    expect(open).toBe('0');
  });

  it("never hold up the cluster's masters", async () => {
    const { handler } = held();
    const serve = chain({ resources: handler, ...oneSeat(), authorize });
    void serve(ask('/api/v1/pods', { user }));
    await settle();
    let isAnswered = false;
    void serve(ask('/api/v1/pods', { user: admin })).then(() => (isAnswered = true));
    await settle();
    expect(isAnswered).toBe(false);
  });
});

describe('metrics', () => {
  it('have no label that a client made up', () => {
    const served = new ServerMetrics([], ({ resource }) => resource === 'pods');
    const info = parseRequestInfo({
      method: 'GET',
      path: '/apis/made.up/v1/things',
      query: new URLSearchParams(),
    });
    for (const code of [200, 401, 403, 429]) served.observe(info, code, 1);
    served.longRunning(info, 1);
    expect(served.render()).not.toMatch(/made\.up|things/);
    expect(served.render()).toContain('apiserver_request_total{verb="LIST",code="401"} 1');
  });

  it('count requests by verb, resource and code', async () => {
    const serve = chain();
    await serve(ask('/api/v1/namespaces/a/pods', { user: admin }));
    await serve(ask('/api/v1/namespaces/a/pods'));
    const text = metrics.render();
    const labels =
      'verb="LIST",group="",version="v1",resource="pods",subresource="",scope="namespace"';
    expect(text).toContain(`apiserver_request_total{${labels},code="200"} 1`);
    expect(text).toContain(`apiserver_request_total{${labels},code="403"} 1`);
    expect(text).toContain(`apiserver_request_duration_seconds_count{${labels}} 2`);
  });
});
