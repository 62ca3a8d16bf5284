// Which Secrets nodes may read because they serve Ingresses with them.
import type { InformerFactory } from '#kube/client/informer.ts';
import { ingressClasses, ingresses } from '#kube/client/resources.ts';
import { ownIngresses, tlsSecretNames } from '#kube/machinery/ingress.ts';

const secretIndex = 'tls-secret';

/** Before the informers start: nothing is known, and nobody may. */
export function ingressSecrets(
  informers: InformerFactory,
): (namespace: string, name: string) => boolean {
  const classes = informers.informer(ingressClasses).lister;
  const { lister } = informers.informer(ingresses, {
    indexers: {
      [secretIndex]: (ingress) =>
        tlsSecretNames(ingress).map((name) => `${ingress.metadata.namespace ?? ''}/${name}`),
    },
  });
  return (namespace, name) =>
    ownIngresses(lister.byIndex(secretIndex, `${namespace}/${name}`), classes.list()).length > 0;
}
