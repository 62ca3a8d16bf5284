import { beforeEach, describe, expect, it } from 'vitest';
import type { KubeObject } from '#kube/api/object.ts';
import { ManualClock, rfc3339 } from '#kube/base/clock.ts';
import { seededRandom } from '#kube/base/random.ts';
import { makeKey } from '#platform/certificate.ts';
import { bootstrapTokens } from './bootstrap-tokens.ts';
import { TokenKeys } from './jwt.ts';
import { ServiceAccountTokens, type TokenSubject } from './service-account-tokens.ts';

const issuer = 'https://issuer.test';
const oldKey = makeKey();
const key = new TokenKeys(oldKey);
const account = { name: 'x', uid: 'u-x' };
const subject: TokenSubject = { namespace: 'a', serviceaccount: account };
const pod = { name: 'web', uid: 'u-web' };

let clock: ManualClock;
let stored: Map<string, KubeObject>;
let tokens: ServiceAccountTokens;

function put(resource: string, namespace: string, metadata: object, more: object = {}): void {
  const object = { apiVersion: 'v1', kind: '', metadata, ...more } as unknown as KubeObject;
  stored.set(`${resource}/${namespace}/${object.metadata.name}`, object);
}

const objects = {
  cached: ({ resource }: { resource: string }, namespace: string, name: string) =>
    stored.get(`${resource}/${namespace}/${name}`),
  get: async ({ resource }: { resource: string }, namespace: string, name: string) =>
    stored.get(`${resource}/${namespace}/${name}`),
};

function tokensOf(by: TokenKeys): ServiceAccountTokens {
  return new ServiceAccountTokens({ keys: by, issuer, objects, clock, random: seededRandom(1) });
}

beforeEach(() => {
  clock = new ManualClock();
  stored = new Map();
  put('serviceaccounts', 'a', account);
  put('pods', 'a', pod);
  put('secrets', 'a', { name: 's', uid: 'u-s' });
  put('nodes', '', { name: 'pi', uid: 'u-pi' });
  tokens = tokensOf(key);
});

/** The user's name, or why the token is no good. */
async function outcome(token: string, audiences: readonly string[] = [issuer]): Promise<string> {
  try {
    return (await tokens.verify(token, audiences))?.user.name ?? 'not such a token';
  } catch (error) {
    return (error as Error).message;
  }
}

const name = 'system:serviceaccount:a:x';

describe('a token', () => {
  it('is its account, with groups, uid and what it is bound to', async () => {
    const bound = { ...subject, pod, node: { name: 'pi', uid: 'u-pi' } };
    const { token, expiresMs } = tokens.issue(bound, [issuer, 'vault'], 600);
    expect(expiresMs).toBe(Math.floor(clock.now() / 1000) * 1000 + 600_000);
    expect(await tokens.verify(token, ['vault', 'other'])).toEqual({
      audiences: ['vault'],
      user: {
        name,
        uid: 'u-x',
        groups: ['system:serviceaccounts', 'system:serviceaccounts:a'],
        extra: {
          'authentication.kubernetes.io/credential-id': [expect.stringMatching(/^JTI=.{36}$/)],
          'authentication.kubernetes.io/pod-name': ['web'],
          'authentication.kubernetes.io/pod-uid': ['u-web'],
          'authentication.kubernetes.io/node-name': ['pi'],
          'authentication.kubernetes.io/node-uid': ['u-pi'],
        },
      },
    });
  });

  it('ends with its time', async () => {
    const { token } = tokens.issue(subject, [issuer], 600);
    clock.advance(600_000);
    expect(await outcome(token)).toBe(name);
    clock.advance(1_000);
    expect(await outcome(token)).toBe('service account token has expired');
  });

  it('is for its audience', async () => {
    const { token } = tokens.issue(subject, ['vault'], 600);
    expect(await outcome(token)).toMatch(/^token audiences \["vault"\] is invalid/);
  });

  const ends: readonly (readonly [string, Partial<TokenSubject>, () => void, RegExp])[] = [
    ['account', {}, () => stored.delete('serviceaccounts/a/x'), /not found/],
    [
      'account of that uid',
      {},
      () => put('serviceaccounts', 'a', { ...account, uid: 'new' }),
      /UID/,
    ],
    ['pod', { pod }, () => stored.delete('pods/a/web'), /not found/],
    ['pod of that uid', { pod }, () => put('pods', 'a', { ...pod, uid: 'new' }), /UID/],
    [
      'secret',
      { secret: { name: 's', uid: 'u-s' } },
      () => stored.delete('secrets/a/s'),
      /not found/,
    ],
    ['node', { node: { name: 'pi', uid: 'u-pi' } }, () => stored.delete('nodes//pi'), /not found/],
  ];
  it.each(ends)('ends with its %s', async (_, bound, remove, want) => {
    const { token } = tokens.issue({ ...subject, ...bound }, [issuer], 600);
    expect(await outcome(token)).toBe(name);
    remove();
    expect(await outcome(token)).toMatch(want);
  });

  it('outlives the beginning of its pod’s end by a minute', async () => {
    const { token } = tokens.issue({ ...subject, pod }, [issuer], 600);
    put('pods', 'a', { ...pod, deletionTimestamp: rfc3339(clock.now()) });
    expect(await outcome(token)).toBe(name);
    clock.advance(61_000);
    expect(await outcome(token)).toBe('service account token has been invalidated');
  });

  it('outlives the key that signed it, while that one is kept', async () => {
    const newKey = makeKey();
    const both = new TokenKeys(`${newKey}${oldKey}`);
    const { token } = tokens.issue(subject, [issuer], 600);
    const { token: next } = tokensOf(both).issue(subject, [issuer], 600);
    const verifies = async (keys: TokenKeys, one: string) =>
      (await tokensOf(keys)
        .verify(one, [issuer])
        .catch(() => undefined)) !== undefined;
    expect([
      await verifies(both, token),
      await verifies(both, next),
      await verifies(new TokenKeys(newKey), next),
      await verifies(new TokenKeys(newKey), token),
      // Added, and not yet the one that signs: the other members may have gone ahead.
      await verifies(new TokenKeys(`${oldKey}${newKey}`), next),
    ]).toEqual([true, true, true, false, true]);
    expect(both.jwks()).toEqual([...new TokenKeys(newKey).jwks(), ...new TokenKeys(oldKey).jwks()]);
    expect(() => new TokenKeys('# none')).toThrow('there is no key');
  });

  it('of another key, changed, or unsigned is none', async () => {
    const { token } = tokens.issue(subject, [issuer], 600);
    const [head = '', body = '', signature = ''] = token.split('.');
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as object;
    const other = Buffer.from(JSON.stringify({ ...claims, sub: 'root' })).toString('base64url');
    const none = Buffer.from('{"alg":"none"}').toString('base64url');
    const foreign = tokensOf(new TokenKeys(makeKey())).issue(subject, [issuer], 600).token;
    expect(
      await Promise.all(
        [
          foreign,
          `${head}.${other}.${signature}`,
          `${head}.${body}.AAAA`,
          `${none}.${body}.`,
          `${none}.${body}.${signature}`,
          `${head}.${body}`,
          'a.b.c',
        ].map((text) => outcome(text)),
      ),
    ).toEqual([
      'service account token signature is invalid',
      'service account token signature is invalid',
      'service account token signature is invalid',
      'not such a token',
      'not such a token',
      'not such a token',
      'not such a token',
    ]);
  });

  it('in a Secret has no end but the Secret’s and the account’s', async () => {
    const token = tokens.issueForSecret('a', account, 's');
    const data = { token: Buffer.from(token).toString('base64') };
    put('secrets', 'a', { name: 's', uid: 'u-s' }, { data });
    clock.advance(400 * 86_400_000);
    expect(await outcome(token)).toBe(name);
    stored.delete('serviceaccounts/a/x');
    expect(await outcome(token)).toMatch(/not found/);
    put('serviceaccounts', 'a', account);
    stored.delete('secrets/a/s');
    expect(await outcome(token)).toBe('service account token has been invalidated');
  });
});

describe('a bootstrap token', () => {
  const base64 = (texts: Record<string, string>): Record<string, string> =>
    Object.fromEntries(
      Object.entries(texts).map(([entry, text]) => [entry, Buffer.from(text).toString('base64')]),
    );
  const good = {
    'token-id': 'abcdef',
    'token-secret': '0123456789abcdef',
    'usage-bootstrap-authentication': 'true',
    'auth-extra-groups': 'system:bootstrappers:lab,system:masters',
  };
  const cases: readonly (readonly [string, object, string, object | string])[] = [
    [
      'in order',
      {},
      'abcdef.0123456789abcdef',
      ['system:bootstrappers', 'system:bootstrappers:lab'],
    ],
    ['of another secret', {}, 'abcdef.0123456789abcdee', 'bootstrap token is invalid'],
    ['of another id', {}, 'abcdee.0123456789abcdef', 'bootstrap token is invalid'],
    [
      'not for this',
      { 'usage-bootstrap-authentication': 'no' },
      'abcdef.0123456789abcdef',
      'bootstrap token is invalid',
    ],
    [
      'that expired',
      { expiration: '1999-01-01T00:00:00Z' },
      'abcdef.0123456789abcdef',
      'bootstrap token has expired',
    ],
    [
      'of no known time',
      { expiration: 'tomorrow' },
      'abcdef.0123456789abcdef',
      'bootstrap token has expired',
    ],
    ['of another form', {}, 'abcdef', 'not such a token'],
  ];
  it.each(cases)('%s', async (_, changes, token, want) => {
    const type = 'bootstrap.kubernetes.io/token';
    const data = base64({ ...good, ...changes });
    put('secrets', 'kube-system', { name: 'bootstrap-token-abcdef' }, { type, data });
    const verify = bootstrapTokens(objects, clock, [issuer]);
    const got = await verify(token, [issuer]).then(
      (verified) => verified?.user.groups ?? 'not such a token',
      (error: Error) => error.message,
    );
    expect(got).toEqual(want);
  });
});
