// Fills Secrets of type kubernetes.io/service-account-token: a token, the certificate authority and
// the namespace's name. Those of an account that is gone go with it.
// Source: kubernetes pkg/controller/serviceaccount/tokens_controller.go.
import type { Secret, ServiceAccount } from '#kube/api/core.ts';
import { Controller } from '#kube/client/controller.ts';
import { keyOf, parseKey, secrets, serviceAccounts } from '#kube/client/resources.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';

const type = 'kubernetes.io/service-account-token';
const nameAnnotation = 'kubernetes.io/service-account.name';
const uidAnnotation = 'kubernetes.io/service-account.uid';

export function createTokenSecretController(deps: ControllerDeps): RunnableController {
  const { client, informers, authority } = deps;
  const ofAccount = (secret: Secret): string[] =>
    secret.type === type
      ? [
          `${secret.metadata.namespace ?? ''}/${secret.metadata.annotations?.[nameAnnotation] ?? ''}`,
        ]
      : [];
  const all = informers.informer(secrets, {
    fieldSelector: `type=${type}`,
    indexers: { account: ofAccount },
  });
  const accounts = informers.informer(serviceAccounts);
  const controller = new Controller({
    name: 'token-secret-controller',
    clock: deps.clock,
    logger: deps.logger,
    reconcile,
  });
  controller.watch(all, (secret) => (secret.type === type ? [keyOf(secret)] : []));
  controller.watch(accounts, (account) => all.lister.byIndex('account', keyOf(account)).map(keyOf));

  async function reconcile(key: string): Promise<void> {
    const secret = all.lister.getByKey(key);
    if (secret?.type !== type) return;
    const { annotations = {}, namespace = '' } = secret.metadata;
    const name = annotations[nameAnnotation] ?? '';
    if (name === '') return;
    const account = await client.get(serviceAccounts, { namespace, name }).catch(ignoreNotFound);
    if (account === undefined || !isOf(secret, account)) {
      const { uid } = secret.metadata;
      const preconditions = uid === undefined ? {} : { uid };
      await client.delete(secrets, parseKey(key), { preconditions }).catch(ignoreNotFound);
      return;
    }
    const filled = fill(secret, account);
    if (filled !== undefined) await client.update(secrets, filled);
  }

  /** Undefined: nothing is missing. */
  function fill(secret: Secret, { metadata }: ServiceAccount): Secret | undefined {
    const { namespace = '', name: secretName } = secret.metadata;
    const { name, uid = '' } = metadata;
    const data = { ...secret.data };
    const caPem = base64(authority.caPem);
    const isWhole =
      data['token'] !== undefined &&
      data['ca.crt'] === caPem &&
      data['namespace'] !== undefined &&
      secret.metadata.annotations?.[uidAnnotation] === uid;
    if (isWhole) return undefined;
    data['token'] ??= base64(authority.secretToken(namespace, { name, uid }, secretName));
    data['ca.crt'] = caPem;
    data['namespace'] ??= base64(namespace);
    const annotations = { ...secret.metadata.annotations, [uidAnnotation]: uid };
    return { ...secret, metadata: { ...secret.metadata, annotations }, data };
  }
  return controller;
}

/** A Secret without a uid is of whatever account has the name. */
function isOf({ metadata }: Secret, account: ServiceAccount): boolean {
  const wanted = metadata.annotations?.[uidAnnotation] ?? '';
  return wanted === '' || wanted === account.metadata.uid;
}

function base64(text: string): string {
  const bytes = new TextEncoder().encode(text);
  return btoa(String.fromCharCode(...bytes));
}
