// What the control plane that leads does for the machines of the home.
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { InformerFactory } from '#kube/client/informer.ts';
import { discoveries, machines, namespaces, nodes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { watchAbandoned } from './enrolment/abandoned.ts';
import { HomeSearch } from './discovery/home-search.ts';
import { realProbes } from './discovery/probes/home-probes.ts';

export interface FleetDeps {
  /** With the rights of `home-search`. */
  readonly client: RestClient;
  /** Its own. */
  readonly informers: InformerFactory;
  /** Names of network interfaces. */
  readonly discovery: 'off' | readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Until `signal` aborts. */
export async function runFleet(deps: FleetDeps, signal: AbortSignal): Promise<void> {
  const { informers, discovery, clock } = deps;
  const own = informers.informer(namespaces, { fieldSelector: 'metadata.name=kube-system' });
  const search = new HomeSearch({
    ...deps,
    clusterId: () => own.lister.get('', 'kube-system')?.metadata.uid,
    machines: informers.informer(machines),
    discoveries: informers.informer(discoveries),
    nodes: informers.informer(nodes),
    interfaces: discovery,
    probes: realProbes(clock, signal),
  });
  watchAbandoned({ ...deps, machines: informers.informer(machines) }, signal);
  informers.start(signal);
  await informers.whenSynced();
  await search.run(signal);
}
