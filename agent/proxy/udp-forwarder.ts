// One UDP port in user space: each client gets a socket of its own towards its endpoint, kept
// while packets flow. Idle ones go; beyond the bound the oldest goes.
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Clock, Timer } from '#kube/base/clock.ts';
import { EndpointPicker } from './endpoint-picker.ts';
import type { Endpoint, ServicePortRule } from './rules.ts';
import type { ForwarderOptions } from './tcp-forwarder.ts';

const maxClients = 1024;
/** As long as the kernel remembers a UDP exchange. */
const idleMs = 60_000;

interface Client {
  readonly upstream: Socket;
  readonly endpoint: Endpoint;
  lastUsedMs: number;
}

export class UdpForwarder {
  readonly #socket: Socket;
  readonly #picker: EndpointPicker;
  readonly #clock: Clock;
  /** By `address:port` of the client, least recently used first. */
  readonly #clients = new Map<string, Client>();
  readonly #mayCall: ForwarderOptions['mayCall'];
  #rule: ServicePortRule;
  #sweep: Timer | undefined;

  constructor(socket: Socket, { rule, clock, mayCall }: ForwarderOptions) {
    this.#socket = socket;
    this.#picker = new EndpointPicker(rule, clock);
    this.#rule = rule;
    this.#clock = clock;
    this.#mayCall = mayCall;
    socket.on('message', (message, from) => this.#forward(message, from));
    socket.on('error', () => {});
  }

  /** Clients of endpoints that are gone start afresh with their next packet. */
  update(rule: ServicePortRule): void {
    this.#picker.update(rule);
    this.#rule = rule;
    for (const [key, client] of this.#clients)
      if (!this.#isCurrent(client.endpoint)) this.#drop(key, client);
  }

  close(): Promise<void> {
    this.#sweep?.cancel();
    for (const [key, client] of this.#clients) this.#drop(key, client);
    return new Promise((resolve) => void this.#socket.close(() => resolve()));
  }

  #forward(message: Buffer, from: RemoteInfo): void {
    const key = `${from.address}:${from.port}`;
    const client = this.#clients.get(key) ?? this.#admit(from);
    if (client === undefined) return;
    client.lastUsedMs = this.#clock.monotonicMs();
    this.#clients.delete(key);
    this.#clients.set(key, client);
    client.upstream.send(message, client.endpoint.port, client.endpoint.address);
    this.#sweep ??= this.#clock.timer(idleMs, () => this.#dropIdle());
  }

  /** Undefined when there is no endpoint: UDP has no way to say so. */
  #admit(from: RemoteInfo): Client | undefined {
    if (!this.#mayCall(this.#rule, from.address)) return undefined;
    const isOwn = from.address.startsWith('127.');
    const [endpoint] = this.#picker.candidates(from.address, isOwn);
    if (endpoint === undefined) return undefined;
    this.#picker.took(from.address, endpoint);
    const [oldest] = this.#clients;
    if (this.#clients.size >= maxClients && oldest !== undefined) this.#drop(...oldest);
    const upstream = createSocket('udp4');
    upstream.on('message', (answer, source) => {
      // Only the endpoint may answer.
      if (source.address === endpoint.address && source.port === endpoint.port)
        this.#socket.send(answer, from.port, from.address);
    });
    upstream.on('error', () => {});
    return { upstream, endpoint, lastUsedMs: this.#clock.monotonicMs() };
  }

  #dropIdle(): void {
    const now = this.#clock.monotonicMs();
    for (const [key, client] of this.#clients)
      if (now - client.lastUsedMs >= idleMs) this.#drop(key, client);
    this.#sweep =
      this.#clients.size === 0 ? undefined : this.#clock.timer(idleMs, () => this.#dropIdle());
  }

  #drop(key: string, client: Client): void {
    this.#clients.delete(key);
    client.upstream.close();
  }

  #isCurrent(endpoint: Endpoint): boolean {
    const { external, shortCut = [] } = this.#rule;
    return [...external.endpoints, ...shortCut].some(
      (e) => e.address === endpoint.address && e.port === endpoint.port,
    );
  }
}
