// Who is asking: a client certificate or an identity known already (loopback, session), then a
// bearer token, else nobody in particular. A credential that is offered but wrong is 401, never
// anonymous.
// Source: kubernetes apiserver pkg/authentication/request/{x509,bearertoken,anonymous}.
import type { X509Certificate } from 'node:crypto';
import { subjectIdentity } from '#platform/certificate.ts';
import { unauthorized } from '#kube/machinery/status.ts';
import type { ApiRequest, UserInfo } from '../http.ts';

export const anonymousUser: UserInfo = {
  name: 'system:anonymous',
  groups: ['system:unauthenticated'],
};

export interface VerifiedToken {
  readonly user: UserInfo;
  /** Of those asked for, the ones that the token is for. */
  readonly audiences: readonly string[];
}

/** A token that is no good; its message tells a TokenReview why. */
export class TokenError extends Error {
  override readonly name = 'TokenError';
}

/** Undefined: not a token of this kind. Throws TokenError. */
export type TokenVerifier = (
  token: string,
  audiences: readonly string[],
) => Promise<VerifiedToken | undefined>;

export type Authenticator = (request: ApiRequest) => Promise<UserInfo>;

/** All verifiers as one, asked in order. Throws TokenError, also for a token that none knows. */
export function tokenVerifier(verifiers: readonly TokenVerifier[]) {
  return async (token: string, audiences: readonly string[]): Promise<VerifiedToken> => {
    for (const verify of verifiers) {
      const verified = await verify(token, audiences);
      if (verified === undefined) continue;
      return { ...verified, user: withAuthenticatedGroup(verified.user) };
    }
    throw new TokenError('invalid bearer token');
  };
}

/** Throws a 401 StatusError for a wrong credential. `audiences`: of this API server. */
export function createAuthenticator(
  verify: ReturnType<typeof tokenVerifier>,
  audiences: readonly string[],
): Authenticator {
  return async (request) => {
    if (request.user !== undefined) return withAuthenticatedGroup(request.user);
    const token = bearerToken(request.headers['authorization']);
    if (token === undefined) return anonymousUser;
    try {
      return (await verify(token, audiences)).user;
    } catch (error) {
      if (error instanceof TokenError) throw unauthorized();
      throw error;
    }
  };
}

/** The identity in a client certificate whose chain has been verified. Undefined: no name in it. */
export function certificateUser(certificate: X509Certificate): UserInfo | undefined {
  const identity = subjectIdentity(certificate);
  if (identity === undefined) return undefined;
  return { name: identity.commonName, groups: identity.organizations };
}

/** The groups of a service account's user, in Kubernetes' order. Undefined: another kind of user. */
export function serviceAccountGroups(userName: string): readonly string[] | undefined {
  const match = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(userName);
  if (match === null) return undefined;
  return ['system:serviceaccounts', `system:serviceaccounts:${match[1]}`];
}

export function withAuthenticatedGroup(user: UserInfo): UserInfo {
  const isMarked = user.groups.some(
    (group) => group === 'system:authenticated' || group === 'system:unauthenticated',
  );
  return isMarked ? user : { ...user, groups: [...user.groups, 'system:authenticated'] };
}

/** Undefined when the header is absent or of another scheme. */
function bearerToken(header: string | undefined): string | undefined {
  const [scheme = '', token = ''] = (header ?? '').trim().split(' ');
  return scheme.toLowerCase() === 'bearer' && token !== '' ? token : undefined;
}
