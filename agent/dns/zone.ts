// What the cluster's names lead to, as an index over Services and EndpointSlices, kept up object by
// object. It holds only what answers need, so that it can be written down and read again by an agent
// that starts while the control plane is away (`../kept-file.ts`). No I/O; answer.ts reads it.
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { Service } from '#kube/api/core.ts';
import { serviceNameLabel } from '#kube/machinery/endpoint-slices.ts';
import { addressKey } from './wire/addresses.ts';

export const clusterDomain = 'cluster.local';

export interface ZonePort {
  readonly name: string;
  /** In lower case. */
  readonly protocol: string;
  readonly port: number;
}

export interface ZoneService {
  readonly namespace: string;
  readonly name: string;
  /** ClusterIPs; none for a headless or an external one. */
  readonly addresses: readonly string[];
  readonly ports: readonly ZonePort[];
  /** Without a last dot; '' unless it stands for a name elsewhere. */
  readonly externalName: string;
}

export interface ZoneEndpoint {
  readonly address: string;
  /** The endpoint's own, or made of its address. */
  readonly hostname: string;
}

export interface ZoneSlice {
  readonly namespace: string;
  readonly name: string;
  readonly service: string;
  readonly ports: readonly ZonePort[];
  /** Those that are ready (also because their Service publishes those that are not). */
  readonly endpoints: readonly ZoneEndpoint[];
}

export interface ZoneContent {
  readonly services: readonly ZoneService[];
  readonly slices: readonly ZoneSlice[];
}

export class Zone {
  readonly #services = new Map<string, ZoneService>();
  /** Namespace → how many Services it has. */
  readonly #namespaces = new Map<string, number>();
  readonly #slices = new Map<string, ZoneSlice>();
  /** `namespace/service` → keys of its slices. */
  readonly #slicesOf = new Map<string, Set<string>>();
  /** Address → keys of Services, and of slices after a `#`. */
  readonly #byAddress = new Map<string, Set<string>>();
  readonly #now: () => number;
  #serial: number;
  #isKnown = false;

  /** `now`: milliseconds since the epoch. */
  constructor(now: () => number) {
    this.#now = now;
    this.#serial = Math.floor(now() / 1000);
  }

  /** Whether anything was heard of the cluster: until then no name is known not to exist. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  /** Of the zone's SOA: when it last changed, in seconds. */
  get serial(): number {
    return this.#serial;
  }

  service(namespace: string, name: string): ZoneService | undefined {
    return this.#services.get(`${namespace}/${name}`);
  }

  slices(namespace: string, service: string): ZoneSlice[] {
    const keys = this.#slicesOf.get(`${namespace}/${service}`) ?? [];
    return [...keys].flatMap((key) => this.#slices.get(key) ?? []);
  }

  hasNamespace(namespace: string): boolean {
    return this.#namespaces.has(namespace);
  }

  /** Names below the domain's `svc` of whoever has the address: of a Service, else of endpoints. */
  namesOf(address: string): string[] {
    const keys = [...(this.#byAddress.get(addressKey(address)) ?? [])];
    const owners = keys.flatMap((key) => this.#services.get(key) ?? []);
    if (owners.length > 0) return owners.map(({ name, namespace }) => `${name}.${namespace}`);
    const names = keys.flatMap((key) => {
      const slice = this.#slices.get(key.slice(1));
      if (slice === undefined || this.service(slice.namespace, slice.service) === undefined)
        return [];
      return slice.endpoints
        .filter((endpoint) => addressKey(endpoint.address) === addressKey(address))
        .map(({ hostname }) => `${hostname}.${slice.service}.${slice.namespace}`);
    });
    return [...new Set(names)];
  }

  setService(service: Service): void {
    this.#putService(zoneService(service));
  }

  removeService({ metadata: { namespace = '', name } }: Service): void {
    this.#dropService(`${namespace}/${name}`);
  }

  setSlice(slice: EndpointSlice): void {
    const { namespace = '', name } = slice.metadata;
    const next = zoneSlice(slice);
    if (next === undefined) this.#dropSlice(`${namespace}/${name}`);
    else this.#putSlice(next);
  }

  removeSlice({ metadata: { namespace = '', name } }: EndpointSlice): void {
    this.#dropSlice(`${namespace}/${name}`);
  }

  /** All there is now has been heard of. */
  markKnown(): void {
    this.#isKnown = true;
  }

  /** The same for the same names, whichever order they came in. */
  content(): ZoneContent {
    return {
      services: sortedBy(this.#services.values(), nameOf),
      slices: sortedBy(this.#slices.values(), nameOf).map((slice) => ({
        ...slice,
        endpoints: sortedBy(slice.endpoints, ({ address, hostname }) => `${address} ${hostname}`),
      })),
    };
  }

  /** What was known before this agent started; what comes from the API takes its place. */
  remember({ services, slices }: ZoneContent): void {
    for (const service of services) this.#putService(service);
    for (const slice of slices) this.#putSlice(slice);
    this.#isKnown = true;
  }

  /** Drops what was only remembered: `keys` (`namespace/name`) are those that are still there. */
  keepOnly(services: ReadonlySet<string>, slices: ReadonlySet<string>): void {
    for (const key of this.#services.keys()) if (!services.has(key)) this.#dropService(key);
    for (const key of this.#slices.keys()) if (!slices.has(key)) this.#dropSlice(key);
  }

  #putService(service: ZoneService): void {
    const key = `${service.namespace}/${service.name}`;
    this.#dropService(key);
    this.#services.set(key, service);
    this.#namespaces.set(service.namespace, (this.#namespaces.get(service.namespace) ?? 0) + 1);
    for (const address of service.addresses) add(this.#byAddress, addressKey(address), key);
    this.#touch();
  }

  #dropService(key: string): void {
    const service = this.#services.get(key);
    if (service === undefined) return;
    this.#services.delete(key);
    const left = (this.#namespaces.get(service.namespace) ?? 1) - 1;
    if (left === 0) this.#namespaces.delete(service.namespace);
    else this.#namespaces.set(service.namespace, left);
    for (const address of service.addresses) remove(this.#byAddress, addressKey(address), key);
    this.#touch();
  }

  #putSlice(slice: ZoneSlice): void {
    const key = `${slice.namespace}/${slice.name}`;
    this.#dropSlice(key);
    this.#slices.set(key, slice);
    add(this.#slicesOf, `${slice.namespace}/${slice.service}`, key);
    for (const { address } of slice.endpoints) add(this.#byAddress, addressKey(address), `#${key}`);
    this.#touch();
  }

  #dropSlice(key: string): void {
    const slice = this.#slices.get(key);
    if (slice === undefined) return;
    this.#slices.delete(key);
    remove(this.#slicesOf, `${slice.namespace}/${slice.service}`, key);
    for (const { address } of slice.endpoints)
      remove(this.#byAddress, addressKey(address), `#${key}`);
    this.#touch();
  }

  #touch(): void {
    this.#serial = Math.floor(this.#now() / 1000);
  }
}

function nameOf({
  namespace,
  name,
}: {
  readonly namespace: string;
  readonly name: string;
}): string {
  return `${namespace}/${name}`;
}

function sortedBy<T>(values: Iterable<T>, key: (value: T) => string): T[] {
  return [...values].toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}

function add(index: Map<string, Set<string>>, key: string, value: string): void {
  const values = index.get(key);
  if (values === undefined) index.set(key, new Set([value]));
  else values.add(value);
}

function remove(index: Map<string, Set<string>>, key: string, value: string): void {
  const values = index.get(key);
  values?.delete(value);
  if (values?.size === 0) index.delete(key);
}

function zoneService({ metadata, spec }: Service): ZoneService {
  const { namespace = '', name } = metadata;
  const isExternal = spec.type === 'ExternalName';
  const given = spec.clusterIPs ?? (spec.clusterIP === undefined ? [] : [spec.clusterIP]);
  return {
    namespace,
    name,
    addresses: isExternal ? [] : given.filter((address) => address !== '' && address !== 'None'),
    ports: (spec.ports ?? []).map(zonePort),
    externalName: isExternal ? (spec.externalName ?? '').toLowerCase().replace(/\.$/, '') : '',
  };
}

/** Undefined for one of no Service, and for names instead of addresses. */
function zoneSlice(slice: EndpointSlice): ZoneSlice | undefined {
  const { namespace = '', name, labels } = slice.metadata;
  const service = labels?.[serviceNameLabel];
  if (service === undefined || slice.addressType === 'FQDN') return undefined;
  const ready = (slice.endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false);
  return {
    namespace,
    name,
    service,
    ports: (slice.ports ?? []).map(zonePort),
    endpoints: ready.flatMap(({ addresses, hostname = '' }) =>
      addresses.map((address) => ({ address, hostname: hostname || hostnameOf(address) })),
    ),
  };
}

/** As CoreDNS names endpoints without a name of their own. */
function hostnameOf(address: string): string {
  return address.replaceAll(/[.:]/g, '-');
}

function zonePort(port: { name?: string; protocol?: string; port?: number }): ZonePort {
  const { name = '', protocol = 'TCP' } = port;
  return { name, protocol: protocol.toLowerCase(), port: port.port ?? 0 };
}
