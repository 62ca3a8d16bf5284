// The other machines as this node asks them: listed by the API server, spoken to by mutual TLS.
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { nodes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { systemDiskSpace } from '../pressure/pressure-keeper.ts';
import { ImagePeers } from './image-peers.ts';
import { HttpsPeerClient, type PeerIdentity } from './peer-client.ts';

export interface NodePeersDeps {
  readonly client: RestClient;
  /** As whom they are asked, by now; undefined: they are not. */
  readonly identity: (() => PeerIdentity) | undefined;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export function imagePeers(
  { client, identity, nodeName, clock, random, logger }: NodePeersDeps,
  runtime: Runtime,
): ImagePeers | undefined {
  if (identity === undefined) return undefined;
  return new ImagePeers({
    runtime,
    diskSpace: systemDiskSpace,
    client: new HttpsPeerClient(identity),
    listNodes: async (signal) => (await client.list(nodes, { signal, resourceVersion: '0' })).items,
    nodeName,
    clock,
    random,
    logger,
  });
}
