// The way to the cluster's API servers as the agent's process has it: over HTTPS, with what it knows kept in its folder.
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { HttpsTransport } from '#platform/https-transport.ts';
import type { ClientConfig } from '#platform/kubeconfig.ts';
import { fileAt } from '../kept-file.ts';
import { ApiTransport } from './api-transport.ts';
import { KnownServers } from './known-servers.ts';
import { ownAddresses } from './own-addresses.ts';

export interface ApiServersDeps {
  readonly config: ClientConfig;
  readonly nodeName: string;
  readonly dataDirectory: string;
  /** None of those that are known answers. */
  readonly onNobody?: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface ApiServers {
  readonly transport: ApiTransport;
  readonly known: KnownServers;
  /** This machine's addresses are others. */
  moved(): void;
  /** Somebody says that these are API servers of this cluster. */
  hear(servers: readonly string[]): void;
}

/** A file that can't be read costs what it knew. */
export async function openApiServers(deps: ApiServersDeps): Promise<ApiServers> {
  const { config, nodeName, dataDirectory, clock, logger } = deps;
  const connect = (to: ClientConfig): HttpsTransport => new HttpsTransport(to, clock);
  const transport = new ApiTransport({ ...deps, connect });
  const known = new KnownServers({
    standpoint: () => ({ nodeName, given: config.server, ownAddresses: ownAddresses() }),
    file: fileAt(path.join(dataDirectory, 'api-servers.json')),
    onServers: (list) => transport.setServers(list),
    clock,
    logger,
  });
  await known.load();
  return {
    transport,
    known,
    moved() {
      const here = known.moved();
      transport.moved(ownAddresses());
      if (here.length > 0) transport.heard(here);
    },
    hear(servers) {
      known.hear(servers);
      transport.heard(servers);
    },
  };
}
