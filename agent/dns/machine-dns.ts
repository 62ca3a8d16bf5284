// The cluster's DNS as the agent starts it: on the real network, with its file in the data directory.
import path from 'node:path';
import type { InformerFactory } from '#kube/client/informer.ts';
import { endpointSlices, services } from '#kube/client/resources.ts';
import { fileAt } from '../kept-file.ts';
import type { PodNetwork } from '../runtime/pod-network.ts';
import { ClusterDns, type ClusterDnsDeps } from './cluster-dns.ts';
import { systemExchange } from './upstream/exchange.ts';

type Given =
  | 'serviceCidr'
  | 'nodeName'
  | 'hasClusterIps'
  | 'firewall'
  | 'clock'
  | 'logger'
  | 'onChange'
  | 'signal';

/** Of a Node: why names of Services don't resolve in its pods. */
export const dnsReasonAnnotation = 'flotilla.dev/dns-reason';

export interface MachineDnsDeps extends Pick<ClusterDnsDeps, Given> {
  readonly informers: InformerFactory;
  readonly podNetwork: () => Promise<PodNetwork>;
  readonly dataDirectory: string;
}

export function machineDns(deps: MachineDnsDeps): ClusterDns {
  const { informers, podNetwork, dataDirectory, ...given } = deps;
  return new ClusterDns({
    ...given,
    services: informers.informer(services),
    endpointSlices: informers.informer(endpointSlices),
    podCidr: async () => (await podNetwork()).cidr,
    exchange: systemExchange(deps.clock),
    file: fileAt(path.join(dataDirectory, 'names.json')),
  });
}
