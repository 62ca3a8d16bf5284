// Bootstrap tokens: `id.secret`, kept in Secrets of kube-system, for machines that are yet to join.
// Source: kubernetes plugin/pkg/auth/authenticator/token/bootstrap/bootstrap.go.
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Secret } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import { TokenError, type TokenVerifier } from '../authentication.ts';
import type { TokenObjects } from './service-account-tokens.ts';

const secrets = { group: '', version: 'v1', resource: 'secrets' };
const groupForm = /^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$/;

export function bootstrapTokens(
  objects: TokenObjects,
  clock: Clock,
  apiAudiences: readonly string[],
): TokenVerifier {
  return async (token, audiences) => {
    const [, id = '', secret = ''] = /^([a-z0-9]{6})\.([a-z0-9]{16})$/.exec(token) ?? [];
    if (id === '') return undefined;
    const found = objects.cached(secrets, 'kube-system', `bootstrap-token-${id}`) as
      | Secret
      | undefined;
    const data = (key: string): string =>
      Buffer.from(found?.data?.[key] ?? '', 'base64').toString('utf8');
    const isGood =
      found !== undefined &&
      found.metadata.deletionTimestamp === undefined &&
      found.type === 'bootstrap.kubernetes.io/token' &&
      data('token-id') === id &&
      isSame(data('token-secret'), secret) &&
      data('usage-bootstrap-authentication') === 'true';
    if (!isGood) throw new TokenError('bootstrap token is invalid');
    const expiration = data('expiration');
    if (expiration !== '' && !(Date.parse(expiration) > clock.now()))
      throw new TokenError('bootstrap token has expired');
    const more = data('auth-extra-groups')
      .split(',')
      .filter((group) => groupForm.test(group));
    return {
      user: { name: `system:bootstrap:${id}`, groups: ['system:bootstrappers', ...more] },
      audiences: apiAudiences.filter((audience) => audiences.includes(audience)),
    };
  };
}

function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
