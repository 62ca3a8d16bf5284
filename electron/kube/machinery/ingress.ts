// What the parts that serve Ingresses agree on: which are ours, and where they are served.
import type { Node } from '../api/core.ts';
import type { Ingress, IngressClass } from '../api/networking.ts';
import { pairsText, readPairs } from './balancers.ts';

export const ingressController = 'flotilla.dev/ingress';
export const ingressClassName = 'flotilla';
/**
 * On a Node: the ports on which it serves Ingresses right now, as `http 80; https 443`; why not on all it should;
 * the names that it tells the home of, and its addresses in the networks where it does (`192.168.1.2/24`), with commas.
 */
export const ingressNode = {
  portsAnnotation: 'flotilla.dev/ingress-ports',
  reasonAnnotation: 'flotilla.dev/ingress-reason',
  namesAnnotation: 'flotilla.dev/lan-names',
  networksAnnotation: 'flotilla.dev/lan-networks',
} as const;

/** On which ports a Node serves them; undefined: not by this protocol. */
export interface ServedPorts {
  readonly http: number | undefined;
  readonly https: number | undefined;
}

/** As the Node's annotation has them; '' for none. */
export function servedPortsText({ http, https }: ServedPorts): string {
  const pairs = new Map<string, string>();
  if (http !== undefined) pairs.set('http', `${http}`);
  if (https !== undefined) pairs.set('https', `${https}`);
  return pairsText(pairs);
}

export function servedPorts(node: Node): ServedPorts {
  const pairs = readPairs(node, ingressNode.portsAnnotation);
  const port = (name: string): number | undefined => Number(pairs.get(name)) || undefined;
  return { http: port('http'), https: port('https') };
}

const classAnnotation = 'kubernetes.io/ingress.class';

/** Those of our class. `classes`: all there are. */
export function ownIngresses(
  ingresses: readonly Ingress[],
  classes: readonly IngressClass[],
): Ingress[] {
  const names = new Set(
    classes
      .filter(({ spec }) => spec.controller === ingressController)
      .map((one) => one.metadata.name),
  );
  return ingresses.filter(({ metadata, spec }) => {
    const name = spec.ingressClassName ?? metadata.annotations?.[classAnnotation];
    return name !== undefined && names.has(name);
  });
}

/** Names of the Secrets that it wants for TLS, in its own namespace. */
export function tlsSecretNames({ spec }: Ingress): string[] {
  return (spec.tls ?? []).flatMap(({ secretName = '' }) => (secretName === '' ? [] : [secretName]));
}
