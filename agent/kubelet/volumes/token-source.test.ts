import { beforeEach, describe, expect, it } from 'vitest';
import type { Pod, ServiceAccountTokenProjection } from '#kube/api/core.ts';
import { ManualClock, rfc3339 } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import type { Transport, TransportRequest } from '#kube/client/transport.ts';
import { TokenSource } from './token-source.ts';

let clock: ManualClock;
let asked: TransportRequest[];
let isRefused: boolean;
let due: string[];
let source: TokenSource;

const transport: Transport = {
  async request(request) {
    asked.push(request);
    const { spec } = JSON.parse(String(request.body)) as { spec: { expirationSeconds: number } };
    const expirationTimestamp = rfc3339(clock.now() + spec.expirationSeconds * 1000);
    const status = { token: `token ${asked.length}`, expirationTimestamp };
    const body = isRefused
      ? { kind: 'Status', status: 'Failure', code: 403, reason: 'Forbidden', message: 'no' }
      : { status };
    const bytes = new TextEncoder().encode(JSON.stringify(body));
    return { status: isRefused ? 403 : 201, headers: {}, body: bytes };
  },
  stream: () => Promise.reject(new Error('nothing streams here')),
};

beforeEach(() => {
  clock = new ManualClock();
  asked = [];
  due = [];
  isRefused = false;
  const random = seededRandom(1);
  const client = new RestClient({ transport, clock, random });
  source = new TokenSource({
    client: { client, clock, random, logger: silentLogger },
    onDue: (podUid) => void due.push(podUid),
  });
});

function pod(...sources: Partial<ServiceAccountTokenProjection>[]): Pod {
  const projections = sources.map((one) => ({ serviceAccountToken: { path: 'token', ...one } }));
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', namespace: 'a', uid: 'u1' },
    spec: {
      serviceAccountName: 'robot',
      containers: [],
      volumes: [{ name: 'v', projected: { sources: projections } }],
    },
  };
}

async function tokens(of: Pod): Promise<string[]> {
  return [...(await source.load(of)).values()];
}

describe('the tokens of a pod', () => {
  it('are asked for in its name, each audience and lifetime once', async () => {
    const both = pod({ expirationSeconds: 3607 }, { audience: 'vault' });
    expect(await tokens(both)).toEqual(['token 1', 'token 2']);
    expect(await tokens(both)).toEqual(['token 1', 'token 2']);
    expect(
      asked.map(({ method, path, body }) => [method, path, JSON.parse(String(body)).spec]),
    ).toEqual(
      [
        { audiences: [], expirationSeconds: 3607 },
        { audiences: ['vault'], expirationSeconds: 3600 },
      ].map((spec) => [
        'POST',
        '/api/v1/namespaces/a/serviceaccounts/robot/token',
        { ...spec, boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'web', uid: 'u1' } },
      ]),
    );
  });

  it('are due again after four fifths of their time', async () => {
    const one = pod({ expirationSeconds: 1000 });
    await tokens(one);
    clock.advance(799_000);
    expect([due, await tokens(one)]).toEqual([[], ['token 1']]);
    clock.advance(1_000);
    expect([due, await tokens(one)]).toEqual([['u1'], ['token 2']]);
  });

  it('are due again after a day at most', async () => {
    const one = pod({ expirationSeconds: 30 * 86_400 });
    await tokens(one);
    clock.advance(86_400_000);
    expect([due, await tokens(one)]).toEqual([['u1'], ['token 2']]);
  });

  it('serve on while no new one can be had, and no longer than they are good', async () => {
    const one = pod({ expirationSeconds: 1000 });
    await tokens(one);
    isRefused = true;
    clock.advance(900_000);
    expect(await tokens(one)).toEqual(['token 1']);
    clock.advance(100_000);
    await expect(tokens(one)).rejects.toThrow('no');
  });

  it('are forgotten with it, and nobody is woken any more', async () => {
    const one = pod({});
    await tokens(one);
    source.release('u1');
    clock.advance(7_200_000);
    expect(due).toEqual([]);
    expect(await tokens(one)).toEqual(['token 2']);
    source.stop();
    expect(clock.nextTimerMs()).toBeUndefined();
  });
});
