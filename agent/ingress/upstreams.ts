// Connections to the pods: kept while they are used, by undici (Node's own HTTP client as a package):
// node:http takes a third more of the processor for a request.
import type { Dispatcher } from 'undici';
import Pool from 'undici/lib/dispatcher/pool.js';
import type { Endpoint } from '../proxy/endpoints.ts';
import { connectMs } from './dial.ts';
import type { RouteTable } from './routes.ts';
import type { Settings } from '#kube/machinery/ingress-settings.ts';

export class Upstreams {
  readonly #pools = new Map<string, Pool>();

  of(endpoint: Endpoint, protocol: Settings['protocol']): Dispatcher {
    const origin = originOf(endpoint, protocol);
    const known = this.#pools.get(origin);
    if (known !== undefined) return known;
    const pool = new Pool(origin, {
      // As many as there are requests: those that wait for news stay open.
      connections: null,
      pipelining: 1,
      allowH2: false,
      // A body shorter than announced is cut short here as it was there, and not more.
      strictContentLength: false,
      // There is no name to check a pod's certificate by, nor anybody who vouched for it.
      connect: { timeout: connectMs, rejectUnauthorized: false },
    });
    this.#pools.set(origin, pool);
    return pool;
  }

  /** What runs through others comes to its end. */
  keep({ hosts, fallback }: RouteTable): void {
    const routes = [...hosts.values()].flat();
    if (fallback !== undefined) routes.push(fallback);
    const wanted = new Set(
      routes.flatMap(({ endpoints, settings }) =>
        endpoints.map((endpoint) => originOf(endpoint, settings.protocol)),
      ),
    );
    for (const [origin, pool] of this.#pools) {
      if (wanted.has(origin)) continue;
      this.#pools.delete(origin);
      void pool.close();
    }
  }

  async close(): Promise<void> {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map((pool) => pool.destroy()));
  }
}

function originOf({ address, port }: Endpoint, protocol: Settings['protocol']): string {
  return `${protocol}://${address.includes(':') ? `[${address}]` : address}:${port}`;
}
