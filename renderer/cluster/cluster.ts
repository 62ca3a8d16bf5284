// Everything a page needs to talk to the cluster, made once at the start and provided to the whole
// app: typed client, shared informers, live statistics, and whether the server answers.
import { type InjectionKey, type ShallowRef, inject, markRaw, shallowRef } from 'vue';
import { systemClock } from '#kube/base/clock.ts';
import { jsonLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import { InformerFactory } from '#kube/client/informer.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import { assert } from '#kube/base/assert.ts';
import { Connection, type ConnectionState } from './connection.ts';
import { LiveStats } from './live-stats.ts';
import type { SignIn } from './session.ts';

export interface Cluster {
  readonly client: RestClient;
  readonly informers: InformerFactory;
  readonly stats: LiveStats;
  readonly connection: ShallowRef<ConnectionState>;
  readonly signIn: SignIn;
  /** Where node ports answer for this browser. */
  readonly host: string;
}

export const clusterKey: InjectionKey<Cluster> = Symbol('cluster');

export function createCluster(origin: string, host: string, signIn: SignIn): Cluster {
  const connection = shallowRef<ConnectionState>({ kind: 'connected' });
  const transport = new Connection({
    fetch: (input, init) => fetch(input, init),
    openSocket: (url) => new WebSocket(url),
    origin,
    clock: systemClock,
    onStateChange: (state) => {
      connection.value = state;
    },
  });
  addEventListener('focus', () => void transport.recheck());
  const client = new RestClient({ transport });
  const logger = jsonLogger({
    clock: systemClock,
    level: 'warn',
    write: (line) => console.warn(line),
  });
  const informers = new InformerFactory({
    client,
    clock: systemClock,
    random: systemRandom,
    logger,
  });
  // Runs as long as the page: informers are shared, so that going back to a page costs nothing.
  informers.start(new AbortController().signal);
  return markRaw({ client, informers, stats: new LiveStats(client), connection, signIn, host });
}

export function useCluster(): Cluster {
  const cluster = inject(clusterKey);
  assert(cluster, 'no cluster was provided');
  return cluster;
}
