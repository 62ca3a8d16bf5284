// Who is asking: a client certificate or an identity known already (loopback, session), then a
// bearer token, else nobody in particular. A credential that is offered but wrong is 401, never
// anonymous.
// Source: kubernetes apiserver pkg/authentication/request/{x509,bearertoken,anonymous}.
import { createHash, type X509Certificate } from 'node:crypto';
import { subjectIdentity } from '#platform/certificate.ts';
import { unauthorized } from '#kube/machinery/status.ts';
import type { ApiRequest, UserInfo } from '../http.ts';

export const anonymousUser: UserInfo = {
  name: 'system:anonymous',
  groups: ['system:unauthenticated'],
};

/** Undefined: not a token of this kind. */
export type TokenVerifier = (token: string) => Promise<UserInfo | undefined>;

export type Authenticator = (request: ApiRequest) => Promise<UserInfo>;

/** The verifiers are asked in order. Throws a 401 StatusError for a wrong credential. */
export function createAuthenticator(verifiers: readonly TokenVerifier[] = []): Authenticator {
  return async (request) => {
    if (request.user !== undefined) return withAuthenticatedGroup(request.user);
    const token = bearerToken(request.headers['authorization']);
    if (token === undefined) return anonymousUser;
    for (const verify of verifiers) {
      const user = await verify(token);
      if (user !== undefined) return withAuthenticatedGroup(user);
    }
    throw unauthorized();
  };
}

/** Fixed tokens. They are looked up by digest, so that timing tells nothing about them. */
export function staticTokens(users: ReadonlyMap<string, UserInfo>): TokenVerifier {
  const byDigest = new Map([...users].map(([token, user]) => [digest(token), user]));
  return async (token) => byDigest.get(digest(token));
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

function digest(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
