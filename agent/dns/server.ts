// The sockets: UDP and TCP on one address and port. Who may ask is decided before a byte is read. Everything
// is bounded: questions under way in all and for each client, connections, questions on one, bytes
// that a slow reader leaves behind. Sources: RFC 7766 (TCP: several questions on a connection, answers
// in the order in which they are ready).
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { Demand } from '../compilers.ts';
import { messageOf } from '../error-message.ts';
import type { Resolver } from './resolver.ts';

export interface DnsServerDeps {
  readonly resolver: Resolver;
  /** Whether somebody with this address is answered at all. */
  readonly mayAsk: (address: string) => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

const pendingMax = 1_000;
const pendingOfClientMax = 200;
const connectionsMax = 200;
const pipelinedMax = 64;
const unsentBytesMax = 256 * 1024;
const idleMs = 10_000;
const portTriesMax = 5;

export class DnsServer {
  readonly #deps: DnsServerDeps;
  readonly #demand: Demand;
  /** Questions that wait for other servers, by client. */
  readonly #pending = new Map<string, number>();
  readonly #connections = new Set<Socket>();
  #pendingTotal = 0;
  #udp: UdpSocket | undefined;
  #tcp: Server | undefined;
  #port = 0;

  constructor(deps: DnsServerDeps) {
    this.#deps = deps;
    this.#demand = new Demand(deps.clock);
  }

  /** Where it listens; 0 while it does not. */
  get port(): number {
    return this.#port;
  }

  /** On the first of the ports that is free for both; 0: any. Rejects with the system's error. */
  async listen(address: string, ports: readonly number[]): Promise<void> {
    let problem: unknown;
    const tries = ports.flatMap((port) =>
      port === 0 ? Array.from({ length: portTriesMax }, () => 0) : [port],
    );
    for (const port of tries)
      try {
        return await this.#listenOn(address, port);
      } catch (error) {
        problem = error;
      }
    throw problem;
  }

  async #listenOn(address: string, wanted: number): Promise<void> {
    const udp = await bindUdp(address, wanted);
    const { port } = udp.address();
    let tcp: Server;
    try {
      tcp = await listenTcp(address, port, (socket) => this.#accept(socket));
    } catch (error) {
      udp.close();
      throw error;
    }
    udp.on('message', (message, from) => this.#onMessage(message, from));
    udp.on('error', (error) => this.#deps.logger.warn('DNS by UDP', { error: messageOf(error) }));
    tcp.on('error', (error) => this.#deps.logger.warn('DNS by TCP', { error: messageOf(error) }));
    this.#udp = udp;
    this.#tcp = tcp;
    this.#port = port;
  }

  close(): void {
    this.#udp?.close();
    this.#tcp?.close();
    for (const socket of this.#connections) socket.destroy();
    this.#udp = undefined;
    this.#tcp = undefined;
    this.#port = 0;
  }

  #onMessage(message: Buffer, from: RemoteInfo): void {
    if (!this.#deps.mayAsk(from.address)) return;
    const udp = this.#udp;
    void this.#respond(message, { transport: 'udp', client: from.address }, (answer) => {
      // A client that is gone by now, or a network that is: it asks again.
      if (this.#udp === udp) udp?.send(answer, from.port, from.address, () => {});
    });
  }

  #respond(
    message: Buffer,
    { transport, client }: { readonly transport: 'udp' | 'tcp'; readonly client: string },
    send: (answer: Buffer) => void,
  ): Promise<void> | undefined {
    this.#demand.note();
    const { resolver } = this.#deps;
    const pending = this.#pending.get(client) ?? 0;
    if (this.#pendingTotal >= pendingMax || pending >= pendingOfClientMax) {
      const refusal = resolver.refuse(message);
      if (refusal !== undefined) send(refusal);
      return undefined;
    }
    const answer = resolver.respond(message, transport);
    if (!(answer instanceof Promise)) {
      if (answer !== undefined) send(answer);
      return undefined;
    }
    this.#count(client, 1);
    return answer.then(send).finally(() => this.#count(client, -1));
  }

  #count(client: string, by: 1 | -1): void {
    this.#pendingTotal += by;
    const pending = (this.#pending.get(client) ?? 0) + by;
    if (pending === 0) this.#pending.delete(client);
    else this.#pending.set(client, pending);
  }

  #accept(socket: Socket): void {
    const client = (socket.remoteAddress ?? '').replace(/^::ffff:/, '');
    socket.on('error', () => socket.destroy());
    if (!this.#deps.mayAsk(client) || this.#connections.size >= connectionsMax)
      return void socket.destroy();
    this.#connections.add(socket);
    socket.on('close', () => this.#connections.delete(socket));
    socket.setNoDelay(true);
    this.#serve(socket, client);
  }

  #idleTimer(socket: Socket): Timer {
    return this.#deps.clock.timer(idleMs, () => socket.destroy());
  }

  #serve(socket: Socket, client: string): void {
    let received: Buffer = Buffer.alloc(0);
    let open = 0;
    let idle = this.#idleTimer(socket);
    socket.on('close', () => idle.cancel());
    const touch = (): void => {
      idle.cancel();
      if (!socket.destroyed) idle = this.#idleTimer(socket);
    };
    const isFull = (): boolean => open >= pipelinedMax || socket.writableLength > unsentBytesMax;
    const send = (answer: Buffer): void => {
      if (socket.destroyed) return;
      touch();
      const length = Buffer.alloc(2);
      length.writeUInt16BE(answer.length);
      socket.cork();
      socket.write(length);
      socket.write(answer);
      socket.uncork();
    };
    const take = (): void => {
      while (!isFull() && received.length >= 2) {
        const end = received.readUInt16BE(0) + 2;
        if (received.length < end) break;
        const message = received.subarray(2, end);
        received = received.subarray(end);
        const later = this.#respond(message, { transport: 'tcp', client }, send);
        if (later === undefined) continue;
        open++;
        void later.finally(() => {
          open--;
          take();
        });
      }
      if (isFull()) socket.pause();
      else if (socket.isPaused()) socket.resume();
    };
    socket.on('data', (chunk: Buffer) => {
      touch();
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      take();
    });
    socket.on('drain', take);
  }
}

function bindUdp(address: string, port: number): Promise<UdpSocket> {
  return new Promise((resolve, reject) => {
    // Answers go to addresses: nothing is to be looked up.
    const socket = createSocket({
      type: 'udp4',
      lookup: (client, _options, done) => done(null, client, 4),
    });
    socket.once('error', (error) => {
      socket.close();
      reject(error);
    });
    socket.bind({ address, port, exclusive: true }, () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
  });
}

function listenTcp(
  address: string,
  port: number,
  accept: (socket: Socket) => void,
): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(accept);
    server.once('error', reject);
    server.listen({ host: address, port, exclusive: true }, () => {
      server.removeListener('error', reject);
      resolve(server);
    });
  });
}
