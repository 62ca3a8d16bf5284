// `authorizer` in the expressions of a request: its user, or a service account in their place.
import { Authorizer } from '../../cel/authorizer.ts';
import type { UserInfo } from '../../apiserver/http.ts';
import type { AdmissionAttributes } from '../chain.ts';
import type { DynamicDeps } from './deps.ts';

export function authorizerOf(
  { resource, subresource, namespace, name, user }: AdmissionAttributes,
  authorize: DynamicDeps['authorize'],
): Authorizer {
  const asked = {
    group: resource.group,
    resource: resource.resource,
    subresource,
    namespace,
    name,
  };
  return new Authorizer(
    (question, account) => authorize(account === undefined ? user : accountUser(account), question),
    asked,
  );
}

function accountUser(account: string): UserInfo {
  const [namespace = '', name = ''] = account.split('/');
  return {
    name: `system:serviceaccount:${namespace}:${name}`,
    groups: [
      'system:serviceaccounts',
      `system:serviceaccounts:${namespace}`,
      'system:authenticated',
    ],
  };
}
