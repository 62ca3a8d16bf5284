// Chooses an endpoint for a new client: in turn, or by the client's address where a Service wants
// each client to keep its endpoint. Keeps its place when the endpoints change.
import { fnv1a } from '#kube/machinery/hash.ts';
import { affinityTable } from './nftables.ts';
import type { Endpoint, ServicePortRule } from './rules.ts';

export class EndpointPicker {
  #endpoints: readonly Endpoint[] = [];
  #affinity: readonly Endpoint[] | undefined;
  #turn = 0;

  constructor(rule: ServicePortRule) {
    this.update(rule);
  }

  update(rule: ServicePortRule): void {
    this.#endpoints = rule.external.endpoints;
    const hasAffinity = rule.hasClientAffinity && this.#endpoints.length > 0;
    this.#affinity = hasAffinity ? affinityTable(this.#endpoints) : undefined;
  }

  /** Every endpoint once, the best first: the others are there if it can't be reached. */
  candidates(clientAddress: string): Endpoint[] {
    const { length } = this.#endpoints;
    if (length === 0) return [];
    const slots = this.#affinity;
    const own = slots?.[fnv1a(clientAddress) % slots.length];
    const start = own === undefined ? this.#turn++ % length : this.#endpoints.indexOf(own);
    return [...this.#endpoints.slice(start), ...this.#endpoints.slice(0, start)];
  }
}
