// One TCP port in user space: each connection goes to one endpoint, the next if that one
// refuses. Connections outlive changes of the rule, as they do in the kernel.
import { connect, type Server, type Socket } from 'node:net';
import type { Clock } from '#kube/base/clock.ts';
import { EndpointPicker } from './endpoint-picker.ts';
import type { Endpoint, ServicePortRule } from './rules.ts';

const maxConnections = 4096;

export interface ForwarderOptions {
  readonly rule: ServicePortRule;
  readonly clock: Clock;
  /** Whether a client of this address gets an answer. */
  readonly mayCall: (rule: ServicePortRule, address: string) => boolean;
}

export class TcpForwarder {
  readonly #server: Server;
  readonly #picker: EndpointPicker;
  readonly #sockets = new Set<Socket>();
  readonly #mayCall: ForwarderOptions['mayCall'];
  #rule: ServicePortRule;

  constructor(server: Server, { rule, clock, mayCall }: ForwarderOptions) {
    this.#server = server;
    this.#rule = rule;
    this.#mayCall = mayCall;
    this.#picker = new EndpointPicker(rule, clock);
    server.maxConnections = maxConnections;
    server.on('connection', (client) => this.#accept(client));
    // Out of file descriptors, say: the client sees it, and the next may fare better.
    server.on('error', () => {});
  }

  update(rule: ServicePortRule): void {
    this.#rule = rule;
    this.#picker.update(rule);
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => void this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #accept(client: Socket): void {
    this.#track(client);
    const { remoteAddress = '', localAddress } = client;
    if (!this.#mayCall(this.#rule, remoteAddress)) {
      client.resetAndDestroy();
      return;
    }
    const isOwn = remoteAddress === localAddress;
    this.#dial(client, this.#picker.candidates(remoteAddress, isOwn));
  }

  #dial(client: Socket, candidates: readonly Endpoint[]): void {
    const [next, ...others] = candidates;
    if (client.destroyed) return;
    if (next === undefined) {
      client.resetAndDestroy();
      return;
    }
    const { address: host, port } = next;
    const upstream = connect({ host, port, allowHalfOpen: true, noDelay: true });
    this.#track(upstream);
    const giveUp = (): void => void upstream.destroy();
    const tryOthers = (): void => {
      client.off('close', giveUp);
      this.#dial(client, others);
    };
    client.once('close', giveUp);
    upstream.once('error', tryOthers);
    upstream.once('connect', () => {
      upstream.off('error', tryOthers);
      this.#picker.took(client.remoteAddress ?? '', next);
      joinSockets(client, upstream);
    });
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    // What follows an error is 'close', where both ends are torn down.
    socket.on('error', () => {});
    socket.once('close', () => void this.#sockets.delete(socket));
  }
}

/** `pipe` passes on each side's end; a side that breaks takes the other with it. */
export function joinSockets(a: Socket, b: Socket): void {
  a.pipe(b);
  b.pipe(a);
  for (const [broken, other] of [
    [a, b],
    [b, a],
  ] as const)
    broken.once('close', (hadError) => {
      if (hadError) other.resetAndDestroy();
      else if (!other.writableEnded) other.end();
    });
}
