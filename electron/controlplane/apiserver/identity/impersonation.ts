// Acting as somebody else (`kubectl --as`): each user, group and uid asked for must be allowed to
// the real user by the verb `impersonate`; from there on the request is theirs.
// Source: kubernetes apiserver pkg/endpoints/filters/impersonation.go.
import { internalError } from '#kube/machinery/status.ts';
import { serviceAccountGroups } from './authentication.ts';
import { forbiddenError } from './authorization.ts';
import type { Authorizer } from './authorizer.ts';
import type { ApiRequest, UserInfo } from '../http.ts';

const extraPrefix = 'impersonate-extra-';

/** Undefined: the request impersonates nobody. Throws a 403 StatusError when it may not. */
export function impersonatedUser(
  request: ApiRequest,
  requestor: UserInfo,
  authorize: Authorizer,
): UserInfo | undefined {
  const { headers } = request;
  const [name = ''] = listOf(headers['impersonate-user']);
  const groups = listOf(headers['impersonate-group']);
  const [uid = ''] = listOf(headers['impersonate-uid']);
  const extras = Object.entries(headers).filter(([key]) => key.startsWith(extraPrefix));
  if (name === '') {
    if (groups.length > 0 || uid !== '' || extras.length > 0)
      throw internalError(`requested ${JSON.stringify(groups)} without impersonating a user`);
    return undefined;
  }

  function check(group: string, resource: string, target: Partial<Target>): void {
    const attributes = {
      isResourceRequest: true,
      verb: 'impersonate',
      path: request.path,
      group,
      namespace: '',
      resource,
      subresource: '',
      name: '',
      fieldSelector: null,
      user: requestor,
      ...target,
    };
    const decision = authorize(attributes);
    if (!decision.allowed) throw forbiddenError(attributes, decision.reason);
  }

  const accountGroups = serviceAccountGroups(name);
  if (accountGroups === undefined) check('', 'users', { name });
  else {
    const [, , namespace = '', account = ''] = name.split(':');
    check('', 'serviceaccounts', { namespace, name: account });
  }
  for (const group of groups) check('', 'groups', { name: group });
  if (uid !== '') check('authentication.k8s.io', 'uids', { name: uid });
  const extra: Record<string, readonly string[]> = {};
  for (const [header, values] of extras) {
    const subresource = decodeURIComponent(header.slice(extraPrefix.length)).toLowerCase();
    const list = listOf(values);
    for (const value of list)
      check('authentication.k8s.io', 'userextras', { subresource, name: value });
    extra[subresource] = list;
  }
  return {
    name,
    ...(uid === '' ? {} : { uid }),
    ...(extras.length === 0 ? {} : { extra }),
    groups: effectiveGroups(name, groups.length > 0 ? groups : (accountGroups ?? [])),
  };
}

interface Target {
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
}

/** The headers without those that impersonate. */
export function withoutImpersonation(
  headers: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(headers).filter(([key]) => !key.startsWith('impersonate-')),
  );
}

function effectiveGroups(name: string, groups: readonly string[]): readonly string[] {
  if (name === 'system:anonymous') return [...new Set([...groups, 'system:unauthenticated'])];
  const isMarked =
    groups.includes('system:authenticated') || groups.includes('system:unauthenticated');
  return isMarked ? groups : [...groups, 'system:authenticated'];
}

/** Repeated headers arrive joined by commas. */
function listOf(header: string | undefined): string[] {
  return (header ?? '').split('\n').filter((entry) => entry !== '');
}
