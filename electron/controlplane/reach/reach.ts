// Puts together how this control plane stays within reach: its place is followed while addresses come and go, and nodes
// are told of it. One that listens on loopback only has no place for others.
import type { Node } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { InformerFactory } from '#kube/client/informer.ts';
import { nodes } from '#kube/client/resources.ts';
import { addressWatch } from '#platform/address-watch.ts';
import { machineAddresses } from '#platform/machine-addresses.ts';
import type { KubeletClient } from '../apiserver/handlers/kubelet-client.ts';
import { everywhere } from '../bind-address.ts';
import { NodeCaller } from './node-caller.ts';
import { followOwnPlace } from './own-place.ts';

export interface ReachDeps {
  readonly bindAddress: string;
  readonly port: number;
  readonly localNodeName: string;
  readonly informers: InformerFactory;
  readonly kubelet: Pick<KubeletClient, 'stream'>;
  /** What is done for a place that is another, before nodes are told of it. */
  readonly steps: readonly (() => Promise<unknown>)[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Where nothing tells of addresses that change. */
const lookEveryMs = 10_000;

/** Resolves when the signal aborts, or when nothing may change. */
export async function stayWithinReach(deps: ReachDeps): Promise<void> {
  const { bindAddress, informers, steps, clock, signal } = deps;
  if (bindAddress.startsWith('127.')) return;
  const isEverywhere = bindAddress === everywhere;
  const caller = new NodeCaller({
    ...deps,
    nodes: informers.informer<Node>(nodes),
    address: isEverywhere ? undefined : bindAddress,
  });
  void caller.start();
  informers.start(signal);
  if (!isEverywhere) return;
  await followOwnPlace({
    ...deps,
    addresses: () => machineAddresses(),
    watch: addressWatch(clock, { lookEveryMs }),
    steps: [...steps, async () => caller.tell()],
  });
}
