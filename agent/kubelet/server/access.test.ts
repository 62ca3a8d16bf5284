import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import type { SubjectAccessReviewSpec } from '#kube/api/authorization.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { Access, subresourcesOf, type AccessRequest } from './access.ts';
import { VerdictCache } from './verdict-cache.ts';

/** Stands in for the API server: who its tokens are, and what they may. */
class Reviews {
  readonly asked: string[] = [];
  tokens: Record<string, string> = {};
  /** `user verb subresource` */
  allowed = new Set<string>();
  isAway = false;

  create = async (_resource: unknown, object: KubeObject): Promise<KubeObject> => {
    const { spec } = object as unknown as { spec: { token?: string } & SubjectAccessReviewSpec };
    if (this.isAway) throw new Error('connection refused');
    if (spec.token !== undefined) {
      this.asked.push(`token ${spec.token}`);
      const username = this.tokens[spec.token];
      const user = { username, groups: ['system:serviceaccounts'] };
      const status =
        username === undefined ? { authenticated: false } : { authenticated: true, user };
      return { ...object, status } as KubeObject;
    }
    const { verb, subresource, name, resource } = spec.resourceAttributes ?? {};
    const what = `${spec.user} ${verb} ${subresource}`;
    this.asked.push(`${what} of ${resource}/${name} as ${spec.groups?.join()}`);
    return { ...object, status: { allowed: this.allowed.has(what) } } as KubeObject;
  };
}

let clock: ManualClock;
let reviews: Reviews;
let access: Access;

beforeEach(() => {
  clock = new ManualClock();
  reviews = new Reviews();
  const client = reviews as unknown as Pick<RestClient, 'create'>;
  access = new Access({ client, clock, logger: silentLogger, nodeName: 'pi' });
});

const certified = (
  CN: string,
  O: string | string[] = [],
  pathname = '/metrics',
): AccessRequest => ({
  method: 'GET',
  pathname,
  certificate: { subject: { CN, O } },
  authorization: undefined,
});
const withToken = (token: string, pathname = '/metrics/cadvisor'): AccessRequest => ({
  method: 'GET',
  pathname,
  certificate: undefined,
  authorization: token,
});

describe('access', () => {
  it('asks the API server for the node’s own subresource, with all groups of the certificate', async () => {
    reviews.allowed.add('eve get metrics');
    expect(await access.refusal(certified('eve', ['a', 'b']))).toBeUndefined();
    expect(reviews.asked).toEqual(['eve get metrics of nodes/pi as a,b,system:authenticated']);
  });

  it('lets a service account scrape with its token', async () => {
    reviews.tokens['t1'] = 'system:serviceaccount:monitoring:prometheus';
    reviews.allowed.add('system:serviceaccount:monitoring:prometheus get metrics');
    expect(await access.refusal(withToken('Bearer t1'))).toBeUndefined();
    expect(await access.refusal(withToken('bearer t1', '/exec/n/p/c'))).toEqual({
      status: 403,
      why: 'Forbidden (user=system:serviceaccount:monitoring:prometheus, verb=get, resource=nodes, subresource(s)=[proxy])',
    });
  });

  const nobody: [string, AccessRequest][] = [
    ['no credentials', { ...certified('x'), certificate: undefined }],
    ['a certificate without a name', certified('')],
    ['a token that nobody knows', withToken('Bearer other')],
    ['another scheme', withToken('Basic t1')],
    ['an empty token', withToken('Bearer ')],
    ['an enormous token', withToken(`Bearer ${'x'.repeat(20_000)}`)],
  ];
  it.each(nobody)('refuses %s', async (_what, request) => {
    expect(await access.refusal(request)).toEqual({ status: 401, why: 'Unauthorized' });
  });

  it('takes the specific right or the old one for everything', async () => {
    reviews.allowed.add('old get proxy').add('new get pods');
    expect(await access.refusal(certified('old', [], '/pods'))).toBeUndefined();
    expect(await access.refusal(certified('new', [], '/pods'))).toBeUndefined();
    const { why } = (await access.refusal(certified('none', [], '/pods'))) ?? {};
    expect(why).toBe(
      'Forbidden (user=none, verb=get, resource=nodes, subresource(s)=[pods proxy])',
    );
  });

  it('remembers a yes for five minutes and a no for half a minute', async () => {
    reviews.allowed.add('yes get metrics');
    const askBoth = async () => {
      const before = reviews.asked.length;
      await access.refusal(certified('yes'));
      await access.refusal(certified('no'));
      return reviews.asked.slice(before).map((text) => text.split(' ')[0]);
    };
    const asked = [await askBoth(), await askBoth()];
    clock.advance(31_000);
    asked.push(await askBoth());
    clock.advance(270_000);
    asked.push(await askBoth());
    expect(asked).toEqual([['yes', 'no'], [], ['no'], ['yes', 'no']]);
  });

  it('fails closed while the API server is away, but for what it said lately', async () => {
    reviews.tokens['t1'] = 'prometheus';
    reviews.allowed.add('prometheus get metrics').add('eve get metrics');
    await access.refusal(withToken('Bearer t1'));
    reviews.isAway = true;
    expect(await access.refusal(withToken('Bearer t1'))).toBeUndefined();
    expect((await access.refusal(withToken('Bearer t2')))?.status).toBe(401);
    expect(await access.refusal(certified('eve'))).toEqual({
      status: 500,
      why: 'Authorization error (user=eve, verb=get, resource=nodes, subresource(s)=[metrics])',
    });
    reviews.isAway = false;
    expect(await access.refusal(certified('eve'))).toBeUndefined();
  });

  it('lets only API servers say where they are, without asking anybody', async () => {
    reviews.allowed.add('admin update proxy').add('prometheus update proxy');
    reviews.tokens['t1'] = 'prometheus';
    const hint = (name: string, groups: string[]) => ({
      ...certified(name, groups, '/flotilla/api-server'),
      method: 'PUT',
    });
    const from = async (request: AccessRequest) => (await access.refusal(request))?.status;
    const server = 'kube-apiserver-kubelet-client';
    expect(await from(hint(server, ['system:masters']))).toBeUndefined();
    expect(await from(hint(server, ['system:nodes']))).toBe(403);
    expect(await from(hint('admin', ['system:masters']))).toBe(403);
    expect(await from(hint('system:node:pi2', ['system:nodes']))).toBe(403);
    expect(reviews.asked).toEqual([]);
    const token = { ...withToken('Bearer t1', '/flotilla/api-server'), method: 'PUT' };
    expect(await from(token)).toBe(403);
    expect(await from({ ...token, authorization: undefined })).toBe(401);
  });

  it('lets nodes at each other’s images without asking, and nobody who only has such a name', async () => {
    const images = (name: string, groups: string[]) =>
      access.refusal(certified(name, groups, '/images/offer'));
    expect(await images('system:node:pi2', ['system:nodes'])).toBeUndefined();
    expect(reviews.asked).toEqual([]);
    expect((await images('system:node:pi2', ['others']))?.status).toBe(403);
    expect((await images('pi2', ['system:nodes']))?.status).toBe(403);
  });

  it.each([
    ['/stats/summary', 'stats'],
    ['/metrics/probes', 'metrics'],
    ['/logs/syslog', 'log'],
    ['/pods', 'pods,proxy'],
    ['/runningpods/', 'pods,proxy'],
    ['/healthz', 'healthz,proxy'],
    ['/configz', 'configz,proxy'],
    ['/exec/n/p/c', 'proxy'],
    ['/containerLogs/n/p/c', 'proxy'],
    ['/statsx', 'proxy'],
    ['/', 'proxy'],
    ['/constructor', 'proxy'],
    ['/__proto__', 'proxy'],
  ])('%s needs %s', (pathname, want) => {
    expect(subresourcesOf(pathname).join()).toBe(want);
  });
});

describe('verdicts', () => {
  it('are bounded, and many who ask at once share one question', async () => {
    const cache = new VerdictCache<number>({ clock, entriesMax: 3, ttlMs: () => 1000 });
    let asked = 0;
    const ask = async () => ++asked;
    const both = await Promise.all([cache.get('a', ask), cache.get('a', ask)]);
    for (const key of ['b', 'c', 'd', 'e']) await cache.get(key, ask);
    expect([both, cache.size, await cache.get('a', ask)]).toEqual([[1, 1], 3, 6]);
  });
});
