// In which order the pods of a route are tried for a request: in turn, or by the client's address where
// the Service wants each client to keep its pod.
import { fnv1a } from '#kube/machinery/hash.ts';
import type { Endpoint } from '../proxy/endpoints.ts';
import type { Route } from './routes.ts';

export class Turns {
  readonly #next = new Map<string, number>();

  /** Every one once, the best first. */
  order(
    { backend, endpoints, hasClientAffinity }: Route,
    clientAddress: string,
  ): readonly Endpoint[] {
    if (endpoints.length < 2) return endpoints;
    const start = hasClientAffinity ? fnv1a(clientAddress) : this.#turn(backend);
    const from = start % endpoints.length;
    return [...endpoints.slice(from), ...endpoints.slice(0, from)];
  }

  #turn(backend: string): number {
    const turn = this.#next.get(backend) ?? 0;
    this.#next.set(backend, (turn + 1) % 2 ** 30);
    return turn;
  }

  /** Forgets the backends that are not `known`. */
  keep(known: ReadonlySet<string>): void {
    for (const backend of this.#next.keys()) if (!known.has(backend)) this.#next.delete(backend);
  }
}
