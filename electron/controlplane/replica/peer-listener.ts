// The side that others connect to: TLS with a certificate demanded, the handshake judged, then
// messages handed on, signs of life returned, snapshots taken in.
// Invariants: a message's sender is whom the certificate names; of one peer's connections for one
// purpose only the newest is read, so that nothing old comes after something new.
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { unreachable } from '#kube/base/assert.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { peerMemberId } from '#platform/certificate.ts';
import type { MemberId } from '../raft/types.ts';
import { FrameReader, PeerProtocolError } from './peer-bytes.ts';
import { decodeMessage, frameTypes, pongFrame } from './peer-codec.ts';
import { keepAliveMs, type PeerCredentials } from './peer-dial.ts';
import {
  encodeAnswer,
  GreetingReader,
  judgeHello,
  type Hello,
  type Judge,
  type Refusal,
} from './peer-handshake.ts';
import { SnapshotIntake } from './snapshot-stream.ts';
import type { PeerHandlers } from './types.ts';

const helloTimeoutMs = 5000;
/** Five voters and some learners, three connections each, twice while they are made anew. */
const connectionsMax = 128;

export interface ListenerDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly judge: Judge;
  /** Undefined: nobody is let in yet. */
  handlers(): PeerHandlers | undefined;
  /** Welcome peers only. `host`: whence it came. */
  onHello(hello: Hello, host: string): void;
}

export class PeerListener {
  private readonly deps: ListenerDeps;
  private readonly server: Server;
  private readonly sockets = new Set<TLSSocket>();
  /** By peer and lane. */
  private readonly current = new Map<string, TLSSocket>();
  /** The last refusal told of each peer: the same one is logged once. */
  private readonly refused = new Map<MemberId, string>();

  constructor(credentials: PeerCredentials, deps: ListenerDeps) {
    this.deps = deps;
    const server = createServer({
      ...serverOptions(credentials),
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: 10_000,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveMs,
    });
    server.maxConnections = connectionsMax;
    server.on('secureConnection', (socket) => this.greet(socket));
    server.on('tlsClientError', (error) =>
      deps.logger.debug('Turned a connection away', { error: error.message }),
    );
    this.server = server;
  }

  /** The port it got. Rejects when it can't listen there. */
  listen(host: string, port: number): Promise<number> {
    const { server } = this;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, () => {
        server.removeListener('error', reject);
        server.on('error', (error) =>
          this.deps.logger.error('Failed to accept peers', { error: error.message }),
        );
        const address = server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  /** For connections from now on. */
  setCredentials(credentials: PeerCredentials): void {
    this.server.setSecureContext(serverOptions(credentials));
  }

  /** Ends what a removed peer has open. */
  drop(id: MemberId): void {
    for (const [key, socket] of this.current)
      if (key.startsWith(`${id}/`)) socket.destroy(new Error('the peer was removed'));
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private greet(socket: TLSSocket): void {
    this.sockets.add(socket);
    socket.on('error', (error) =>
      this.deps.logger.debug('Lost a connection of a peer', { error: error.message }),
    );
    socket.once('close', () => this.sockets.delete(socket));
    const certificate = socket.getPeerX509Certificate();
    const id = certificate === undefined ? undefined : peerMemberId(certificate);
    if (id === undefined || this.deps.handlers() === undefined) {
      this.deps.logger.warn('Turned away who is not a control-plane member', {
        subject: certificate?.subject,
        host: socket.remoteAddress,
      });
      socket.destroy();
      return;
    }
    const patience = this.deps.clock.timer(helloTimeoutMs, () => socket.destroy());
    socket.once('close', () => patience.cancel());
    const greeting = new GreetingReader();
    const listen = (chunk: Buffer): void =>
      this.guard(socket, () => {
        const read = greeting.push(chunk);
        if (read === undefined) return;
        patience.cancel();
        socket.removeListener('data', listen);
        const hello = judgeHello(read.greeting, id, this.deps.judge);
        if ('reason' in hello) return this.refuse(socket, id, hello);
        this.welcome(socket, hello, read.rest);
      });
    socket.on('data', listen);
  }

  private refuse(socket: TLSSocket, id: MemberId, refusal: Refusal): void {
    // What it says nevertheless must be read, or the connection would not end.
    socket.resume();
    socket.end(encodeAnswer(refusal));
    if (this.refused.get(id) === refusal.message) return;
    this.refused.set(id, refusal.message);
    this.deps.logger.warn('Refused a peer', { peer: id, ...refusal });
  }

  private welcome(socket: TLSSocket, hello: Hello, rest: Buffer): void {
    const key = `${hello.from}/${hello.lane}`;
    this.refused.delete(hello.from);
    this.current.get(key)?.destroy();
    this.current.set(key, socket);
    socket.once('close', () => {
      if (this.current.get(key) === socket) this.current.delete(key);
    });
    socket.write(encodeAnswer(undefined));
    const frames = new FrameReader(this.reader(socket, hello));
    const read = (chunk: Buffer): void =>
      this.guard(socket, () => {
        // Destroyed sockets may still hand out what they had read.
        if (this.current.get(key) === socket) frames.push(chunk);
      });
    socket.on('data', read);
    this.deps.onHello(hello, socket.remoteAddress ?? '');
    read(rest);
  }

  private reader(socket: TLSSocket, hello: Hello): (type: number, body: Buffer) => void {
    switch (hello.lane) {
      case 'control':
      case 'bulk':
        return (type, body) => this.message(socket, hello, { type, body });
      case 'snapshot': {
        const intake = new SnapshotIntake({
          socket,
          clock: this.deps.clock,
          accept: async (mark, chunks) =>
            await this.deps.handlers()?.onSnapshot(hello.from, mark, chunks),
        });
        socket.once('error', (error) => intake.broke(error));
        socket.once('close', () => intake.broke(new Error('the peer ended the connection')));
        return (type, body) => intake.frame(type, body);
      }
      default:
        return unreachable(hello.lane);
    }
  }

  private message(
    socket: TLSSocket,
    { from, to }: Hello,
    { type, body }: { readonly type: number; readonly body: Buffer },
  ): void {
    if (type === frameTypes.ping) socket.write(pongFrame);
    else this.deps.handlers()?.onMessage(decodeMessage(type, body, { from, to }));
  }

  /** What a peer does wrong ends its connection; any other error is ours. */
  private guard(socket: TLSSocket, work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof PeerProtocolError)) throw error;
      this.deps.logger.warn('Ended the connection of a peer that sent what it must not', {
        host: socket.remoteAddress,
        error: error.message,
      });
      socket.destroy(error);
    }
  }
}

function serverOptions({ caPem, certPem, keyPem }: PeerCredentials): {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly minVersion: 'TLSv1.3';
} {
  return { ca: caPem, cert: certPem, key: keyPem, minVersion: 'TLSv1.3' };
}
