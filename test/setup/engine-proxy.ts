// Docker Engine behind a socket of our own, so that a test can take the engine away from one cluster
// and give it back, slow it down, or cut in at any call that changes something, while the engine and
// everybody else's containers go on.
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Transform } from 'node:stream';

const engineSocket = '/var/run/docker.sock';

/** A call that is not to be answered. */
export interface Cut {
  /** Which of the changing calls from now on, from 1. */
  readonly call: number;
  /** Before the engine hears of it, or after it has answered. */
  readonly when: 'before' | 'after';
  readonly onCut: () => void;
}

export class EngineProxy {
  /** The changing calls since the last cut was set: `POST /containers/create`. */
  calls: string[] = [];
  /** How long the engine takes longer for each call. */
  delayMs = 0;
  #cut: Cut | undefined;
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'flotilla-engine-'));
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  get socketPath(): string {
    return path.join(this.#folder, 'docker.sock');
  }

  /** For the cluster's environment. */
  get dockerHost(): string {
    return `unix://${this.socketPath}`;
  }

  /** The engine is there. */
  async open(): Promise<this> {
    const server = createServer({ allowHalfOpen: true }, (client) => this.#serve(client));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.socketPath, resolve);
    });
    return this;
  }

  /** The engine is gone: its socket, and every connection to it. */
  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** Undefined: only counts. */
  cutAt(cut: Cut | undefined): void {
    this.calls = [];
    this.#cut = cut;
  }

  async destroy(): Promise<void> {
    await this.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #serve(client: Socket): void {
    const engine = connect({ path: engineSocket, allowHalfOpen: true });
    let unanswered: Cut | undefined;
    const asked = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        const cut = this.#notice(chunk);
        if (cut?.when === 'before') return cut.onCut();
        unanswered = cut;
        if (this.delayMs === 0) done(null, chunk);
        else setTimeout(() => done(null, chunk), this.delayMs);
      },
    });
    const answered = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        if (unanswered === undefined) return done(null, chunk);
        unanswered.onCut();
      },
    });
    client.pipe(asked).pipe(engine);
    engine.pipe(answered).pipe(client);
    for (const [socket, other] of [
      [client, engine],
      [engine, client],
    ] as const) {
      this.#sockets.add(socket);
      // Whatever ends one half ends the other; a broken connection is what this is for.
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
  }

  /** A request begins with its own chunk: the client sends the next one when it has its answer. */
  #notice(chunk: Buffer): Cut | undefined {
    const line = /^(?:POST|PUT|DELETE) \/\S+/.exec(chunk.subarray(0, 200).toString('latin1'))?.[0];
    if (line === undefined) return undefined;
    this.calls.push(line.replace(/\?.*/, '').replace(/[0-9a-f]{64}/, 'ID'));
    return this.#cut?.call === this.calls.length ? this.#cut : undefined;
  }
}
