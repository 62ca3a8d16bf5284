// What the parts that serve Ingresses agree on: which are ours, and where they are served.
import type { Node, Service, ServicePort } from '../api/core.ts';
import type {
  HTTPIngressPath,
  Ingress,
  IngressBackend,
  IngressClass,
  IngressServiceBackend,
} from '../api/networking.ts';
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
  return ingresses.filter((ingress) => {
    const name = classNameOf(ingress);
    return name !== undefined && names.has(name);
  });
}

export function classNameOf({ metadata, spec }: Ingress): string | undefined {
  return spec.ingressClassName ?? metadata.annotations?.[classAnnotation];
}

/** In this order they get what several want. */
export function olderFirst(a: Ingress, b: Ingress): number {
  const [one, other] = [ageKey(a), ageKey(b)];
  return one === other ? 0 : one < other ? -1 : 1;
}

function ageKey({ metadata }: Ingress): string {
  return `${metadata.creationTimestamp ?? ''} ${metadata.namespace}/${metadata.name}`;
}

export interface ServedPath {
  /** In small letters; '': any. */
  readonly host: string;
  /** Without a slash at its end, but for `/`. */
  readonly path: string;
  readonly isExact: boolean;
  readonly backend: IngressBackend;
}

/** What its rules say, in their order. */
export function servedPaths({ spec }: Ingress): ServedPath[] {
  return (spec.rules ?? []).flatMap(({ host = '', http }) =>
    (http?.paths ?? []).map((given) => ({
      host: host.toLowerCase(),
      path: pathOf(given),
      isExact: given.pathType === 'Exact',
      backend: given.backend,
    })),
  );
}

function pathOf({ path = '/', pathType }: HTTPIngressPath): string {
  return pathType !== 'Exact' && path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/** Undefined: the Service has no such port. */
export function servicePortOf(
  { spec }: Service,
  port: IngressServiceBackend['port'],
): ServicePort | undefined {
  return (spec.ports ?? []).find((one) =>
    port?.name === undefined || port.name === ''
      ? one.port === port?.number
      : one.name === port.name,
  );
}

/** Names of the Secrets that it wants for TLS, in its own namespace. */
export function tlsSecretNames({ spec }: Ingress): string[] {
  return (spec.tls ?? []).flatMap(({ secretName = '' }) => (secretName === '' ? [] : [secretName]));
}
