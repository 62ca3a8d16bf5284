// The pods' network on a machine with Docker: its keeper with what it needs of this machine.
import type { Node } from '#kube/api/core.ts';
import type { InformerFactory } from '#kube/client/informer.ts';
import { nodes } from '#kube/client/resources.ts';
import { addressWatch } from '#platform/address-watch.ts';
import { proxySystem } from '../proxy/system.ts';
import { DockerRuntime } from '../runtime/docker-runtime.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { networkNames } from './names.ts';
import { PodNetworkKeeper, type PodNetworkKeeperDeps } from './pod-network-keeper.ts';

export interface PodNetworkDeps extends Pick<
  PodNetworkKeeperDeps,
  'nodeName' | 'clock' | 'logger' | 'onChange' | 'signal'
> {
  readonly informers: InformerFactory;
  readonly runtime: Runtime;
  readonly clusterId: string;
  readonly userId: number;
  /** Before anything else is done about it. */
  readonly onAddresses: () => void;
}

/** Undefined with the fake runtime, whose pods are in no network. */
export function startPodNetwork(deps: PodNetworkDeps): PodNetworkKeeper | undefined {
  const { informers, runtime, clusterId, userId, clock, onAddresses } = deps;
  if (!(runtime instanceof DockerRuntime)) return undefined;
  const watch = addressWatch(clock);
  const keeper = new PodNetworkKeeper({
    ...deps,
    nodes: informers.informer<Node>(nodes),
    system: proxySystem(userId),
    names: networkNames(clusterId),
    engineNetwork: async () => (await runtime.foundNetwork())?.cidr,
    watchAddresses(onChange, signal) {
      void watch(() => {
        onAddresses();
        onChange();
      }, signal);
    },
  });
  keeper.start();
  return keeper;
}

/** For the runtime, which is made before: no pod starts without a keeper. */
export function givenNetworkOf(keeper: () => PodNetworkKeeper | undefined) {
  return {
    known: () => keeper()?.givenCidr(),
    async wait() {
      const made = keeper();
      if (made === undefined) throw new Error('the agent is still starting');
      return made.awaitCidr();
    },
  };
}
