// EndpointSlices as the proxy sees them: the cluster's, and one more that leads a Service to a server of this very
// machine. It stands in no API: each machine has another address there.
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { ProxySource } from '../proxy/proxy.ts';

export interface LocalServer {
  readonly namespace: string;
  /** Of the Service. */
  readonly name: string;
  readonly address: string;
  readonly ports: NonNullable<EndpointSlice['ports']>;
}

export class LocalSlices implements ProxySource<EndpointSlice> {
  readonly #source: ProxySource<EndpointSlice>;
  readonly #nodeName: string;
  readonly #handlers = new Set<() => void>();
  #slice: EndpointSlice | undefined;
  readonly lister = {
    list: () => [
      ...this.#source.lister.list(),
      ...(this.#slice === undefined ? [] : [this.#slice]),
    ],
  };

  constructor(source: ProxySource<EndpointSlice>, nodeName: string) {
    this.#source = source;
    this.#nodeName = nodeName;
  }

  addHandler(handlers: { onAdd(): void; onUpdate(): void; onDelete(): void }): () => void {
    const onChange = (): void => handlers.onUpdate();
    this.#handlers.add(onChange);
    const detach = this.#source.addHandler(handlers);
    return () => {
      this.#handlers.delete(onChange);
      detach();
    };
  }

  whenSynced(): Promise<void> {
    return this.#source.whenSynced();
  }

  set(server: LocalServer | undefined): void {
    this.#slice = server === undefined ? undefined : sliceOf(server, this.#nodeName);
    for (const onChange of this.#handlers) onChange();
  }
}

function sliceOf(
  { namespace, name, address, ports }: LocalServer,
  nodeName: string,
): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-on-this-node`,
      namespace,
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: 'IPv4',
    endpoints: [{ addresses: [address], conditions: { ready: true }, nodeName }],
    ports,
  };
}
