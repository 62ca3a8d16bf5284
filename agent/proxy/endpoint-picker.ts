// Chooses an endpoint for a new client of the forwarder: in turn, or the one the client had before
// where a Service wants each client to keep its endpoint. Keeps its place when the endpoints change.
import type { Clock } from '#kube/base/clock.ts';
import type { Endpoint, ServicePortRule } from './rules.ts';

/** Beyond them, the one that called longest ago gets an endpoint anew. */
const maxClients = 10_000;

interface Remembered {
  readonly endpoint: string;
  readonly lastUsedMs: number;
}

export class EndpointPicker {
  readonly #clock: Clock;
  #rule: ServicePortRule;
  /** By address, who called longest ago first. */
  readonly #clients = new Map<string, Remembered>();
  #turn = 0;

  constructor(rule: ServicePortRule, clock: Clock) {
    this.#rule = rule;
    this.#clock = clock;
  }

  update(rule: ServicePortRule): void {
    this.#rule = rule;
  }

  /**
   * Every endpoint once, the best first: the others are there if it can't be reached. `isOwn`: the
   * client is this machine itself, which may use what others may not.
   */
  candidates(clientAddress: string, isOwn = false): readonly Endpoint[] {
    const { external, shortCut } = this.#rule;
    const endpoints = isOwn ? (shortCut ?? external.endpoints) : external.endpoints;
    const { length } = endpoints;
    if (length === 0) return [];
    const kept = this.#kept(clientAddress, endpoints);
    const start = kept >= 0 ? kept : this.#turn++ % length;
    return [...endpoints.slice(start), ...endpoints.slice(0, start)];
  }

  /** The client did reach the endpoint. */
  took(clientAddress: string, endpoint: Endpoint): void {
    if (this.#rule.affinitySeconds === undefined) return;
    this.#clients.delete(clientAddress);
    const [oldest] = this.#clients.keys();
    if (this.#clients.size >= maxClients && oldest !== undefined) this.#clients.delete(oldest);
    const lastUsedMs = this.#clock.monotonicMs();
    this.#clients.set(clientAddress, { endpoint: nameOf(endpoint), lastUsedMs });
  }

  /** Negative when the client has none that is still there. */
  #kept(clientAddress: string, endpoints: readonly Endpoint[]): number {
    const { affinitySeconds } = this.#rule;
    const known = this.#clients.get(clientAddress);
    if (affinitySeconds === undefined || known === undefined) return -1;
    if (this.#clock.monotonicMs() - known.lastUsedMs > affinitySeconds * 1000) return -1;
    return endpoints.findIndex((endpoint) => nameOf(endpoint) === known.endpoint);
  }
}

function nameOf({ address, port }: Endpoint): string {
  return `${address}:${port}`;
}
