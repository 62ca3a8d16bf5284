// Says on an Ingress of our class, once each, what can't be served as it says (problems.ts). The agents of all nodes
// see the same: said here it is said once. After two seconds only: what comes by one `kubectl apply` comes in turn.
import type { Secret, Service } from '#kube/api/core.ts';
import type { Ingress } from '#kube/api/networking.ts';
import { Controller } from '#kube/client/controller.ts';
import { ingressClasses, ingresses, keyOf, secrets, services } from '#kube/client/resources.ts';
import { ownIngresses, tlsSecretNames } from '#kube/machinery/ingress.ts';
import { recorderFor, type ControllerDeps, type RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';
import { backendsOf, ingressProblems, missing } from './problems.ts';

const patienceMs = 2_000;
const tlsType = 'kubernetes.io/tls';

interface Seen {
  readonly sinceMs: number;
  isTold: boolean;
}

export function createIngressProblemController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger, authority, informers } = deps;
  const all = informers.informer(ingresses);
  const classes = informers.informer(ingressClasses);
  const allServices = informers.informer(services);
  const tlsSecrets = informers.informer(secrets, { fieldSelector: `type=${tlsType}` });
  const events = recorderFor(deps, 'ingress-controller');
  const controller = new Controller({ name: 'ingress-problem', clock, logger, reconcile });
  /** By the Ingress' key, then by what is said. */
  const seen = new Map<string, Map<string, Seen>>();

  async function reconcile(key: string) {
    const ingress = ours().find((one) => keyOf(one) === key);
    if (ingress === undefined) return void seen.delete(key);
    const { namespace = '' } = ingress.metadata;
    const broken = new Map<string, string | undefined>();
    for (const name of tlsSecretNames(ingress))
      broken.set(name, await secretProblem(namespace, name));
    const problems = ingressProblems(ingress, {
      own: ours(),
      classes: classes.lister.list(),
      service: (name) => allServices.lister.get(namespace, name),
      secretProblem: (name) => broken.get(name),
    });
    const before = seen.get(key);
    const now = new Map<string, Seen>();
    for (const { type, reason, sentence } of problems) {
      const nowMs = clock.monotonicMs();
      const entry = before?.get(sentence) ?? { sinceMs: nowMs, isTold: false };
      now.set(sentence, entry);
      if (entry.isTold || nowMs - entry.sinceMs < patienceMs) continue;
      entry.isTold = true;
      events.event(ingress, type, reason, sentence);
    }
    seen.set(key, now);
    const isWaiting = [...now.values()].some(({ isTold }) => !isTold);
    return isWaiting ? { requeueAfterMs: patienceMs } : {};
  }

  function ours(): Ingress[] {
    return ownIngresses(all.lister.list(), classes.lister.list()).filter(
      ({ metadata }) => metadata.deletionTimestamp === undefined,
    );
  }

  /** One of another type may hold a certificate, too: it is asked for. */
  async function secretProblem(namespace: string, name: string): Promise<string | undefined> {
    const secret =
      tlsSecrets.lister.get(namespace, name) ??
      (await client.get(secrets, { namespace, name }).catch(ignoreNotFound));
    if (secret === undefined) return missing;
    const { 'tls.crt': certificate, 'tls.key': key } = secret.data ?? {};
    if (certificate === undefined || key === undefined) return 'has no tls.crt and tls.key';
    return authority.pairProblem(atob(certificate), atob(key));
  }

  const enqueueAll = (): void => {
    for (const ingress of all.lister.list()) controller.enqueue(keyOf(ingress));
  };
  const onAny = { onAdd: enqueueAll, onUpdate: enqueueAll, onDelete: enqueueAll };
  controller.watchWith(all, {
    ...onAny,
    onUpdate(old, ingress) {
      // Its status is ours.
      if (outline(old) !== outline(ingress)) enqueueAll();
    },
    onDelete(ingress) {
      seen.delete(keyOf(ingress));
      enqueueAll();
    },
  });
  controller.watchWith(classes, onAny);
  const usersOf = (namespace: string | undefined, isUser: (ingress: Ingress) => boolean) =>
    all.lister
      .list()
      .filter((ingress) => ingress.metadata.namespace === namespace && isUser(ingress))
      .map(keyOf);
  controller.watch(allServices, ({ metadata }: Service) =>
    usersOf(metadata.namespace, (ingress) =>
      backendsOf(ingress).some(({ service }) => service?.name === metadata.name),
    ),
  );
  controller.watch(tlsSecrets, ({ metadata }: Secret) =>
    usersOf(metadata.namespace, (ingress) => tlsSecretNames(ingress).includes(metadata.name)),
  );
  return controller;
}

/** All of an Ingress that counts here. */
function outline({ metadata, spec }: Ingress): string {
  return JSON.stringify([metadata.annotations, metadata.deletionTimestamp, spec]);
}
