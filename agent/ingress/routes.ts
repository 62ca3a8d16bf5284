// Which host and path lead to which pods: pure. Hosts exact or with one label of freedom, paths exact
// or by whole elements; the longest path wins, then the older Ingress.
// Source: the Ingress API's own documentation (networking.k8s.io/v1), Kubernetes 1.35.
import type { Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { Ingress, IngressBackend, IngressClass } from '#kube/api/networking.ts';
import { isHomePageName } from '#kube/machinery/home-page.ts';
import { olderFirst, ownIngresses, servedPaths, servicePortOf } from '#kube/machinery/ingress.ts';
import {
  chooseEndpoints,
  internalEndpoints,
  slicesByService,
  type Endpoint,
  type Place,
} from '../proxy/endpoints.ts';
import { settingsOf, type Settings } from '#kube/machinery/ingress-settings.ts';

export interface Route {
  /** Without a slash at its end, but for `/`. */
  readonly path: string;
  readonly isExact: boolean;
  /** `namespace/name` of the Ingress. */
  readonly owner: string;
  /** `namespace/name:port` of the Service. */
  readonly backend: string;
  /** Sorted; those that a client on this node gets. */
  readonly endpoints: readonly Endpoint[];
  /** Names of the nodes that the app is on, wherever requests go. */
  readonly runsOn: readonly string[];
  readonly hasClientAffinity: boolean;
  readonly settings: Settings;
}

export interface TlsName {
  /** May begin with `*.`; empty: every host of the Ingress' rules that no other names. */
  readonly host: string;
  readonly namespace: string;
  readonly secretName: string;
}

export interface RouteTable {
  /** The best first; '' are the rules for any host, a `*.` at the start stands for one label. */
  readonly hosts: ReadonlyMap<string, readonly Route[]>;
  /** For what no rule is for. */
  readonly fallback: Route | undefined;
  readonly tls: readonly TlsName[];
}

export interface IngressState {
  readonly ingresses: readonly Ingress[];
  readonly classes: readonly IngressClass[];
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
  /** Where this serves. */
  readonly place: Place;
}

export function routeTable(state: IngressState): RouteTable {
  const own = ownIngresses(state.ingresses, state.classes).toSorted(olderFirst);
  const backends = new Backends(state);
  const hosts = new Map<string, Route[]>();
  let fallback: Route | undefined;
  for (const ingress of own) {
    const { settings } = settingsOf(ingress.metadata.annotations ?? {});
    const owner = `${ingress.metadata.namespace}/${ingress.metadata.name}`;
    const route = (to: IngressBackend | undefined, path: string, isExact = false) => {
      const backend = backends.find(ingress, to);
      return backend && { path, isExact, owner, settings, ...backend };
    };
    const { defaultBackend } = ingress.spec;
    if (defaultBackend !== undefined) fallback ??= route(defaultBackend, '/');
    for (const { host, path, isExact, backend } of servedPaths(ingress)) {
      const found = isHomePageName(host) ? undefined : route(backend, path, isExact);
      if (found === undefined) continue;
      const routes = hosts.get(host) ?? [];
      const isTaken = routes.some((one) => one.path === path && one.isExact === isExact);
      if (!isTaken) routes.push(found);
      hosts.set(host, routes);
    }
  }
  for (const routes of hosts.values()) routes.sort(byPrecedence);
  return { hosts, fallback, tls: own.flatMap(tlsNames) };
}

function byPrecedence(a: Route, b: Route): number {
  return b.path.length - a.path.length || Number(b.isExact) - Number(a.isExact);
}

function tlsNames({ metadata, spec }: Ingress): TlsName[] {
  const { namespace = '' } = metadata;
  return (spec.tls ?? []).flatMap(({ hosts = [], secretName }) => {
    if (secretName === undefined || secretName === '') return [];
    const names = hosts.length > 0 ? hosts : (spec.rules ?? []).map(({ host = '' }) => host);
    return names
      .filter((host) => host !== '')
      .map((host) => ({ host: host.toLowerCase(), namespace, secretName }));
  });
}

type Found = Pick<Route, 'backend' | 'endpoints' | 'runsOn' | 'hasClientAffinity'>;

class Backends {
  readonly #services: ReadonlyMap<string, Service>;
  readonly #slices: ReadonlyMap<string, readonly EndpointSlice[]>;
  readonly #place: Place;

  constructor({ services, endpointSlices, place }: IngressState) {
    this.#services = new Map(
      services.map((one) => [`${one.metadata.namespace}/${one.metadata.name}`, one]),
    );
    this.#slices = slicesByService(endpointSlices);
    this.#place = place;
  }

  /** Without endpoints where the Service is not there (yet): that is answered with 503. */
  find({ metadata }: Ingress, backend: IngressBackend | undefined): Found | undefined {
    if (backend?.service === undefined) return undefined;
    const { name, port } = backend.service;
    const key = `${metadata.namespace}/${name}`;
    const portText = String(port?.name ?? port?.number ?? '');
    const nothing = {
      backend: `${key}:${portText}`,
      endpoints: [],
      runsOn: [],
      hasClientAffinity: false,
    };
    const service = this.#services.get(key);
    const found = service && servicePortOf(service, port);
    if (service === undefined || found === undefined) return nothing;
    const choice = chooseEndpoints(found, this.#slices.get(key) ?? [], this.#place);
    return {
      ...nothing,
      endpoints: internalEndpoints(service, choice),
      runsOn: choice.nodes,
      hasClientAffinity: service.spec.sessionAffinity === 'ClientIP',
    };
  }
}

/** `host` as in a Host header; `path` without the question. Undefined: nothing answers there. */
export function findRoute(table: RouteTable, host: string, path: string): Route | undefined {
  const name = hostName(host);
  const label = name.indexOf('.');
  const wildcard = label > 0 ? `*${name.slice(label)}` : undefined;
  for (const key of [name, wildcard, '']) {
    const found = key === undefined ? undefined : table.hosts.get(key)?.find(matches(path));
    if (found !== undefined) return found;
  }
  return table.fallback;
}

/** Without the port and the dot of a full name, in small letters. */
export function hostName(host: string): string {
  return host.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase();
}

function matches(path: string): (route: Route) => boolean {
  return ({ path: prefix, isExact }) => {
    if (isExact) return path === prefix;
    return prefix === '/' || path === prefix || path.startsWith(`${prefix}/`);
  };
}
