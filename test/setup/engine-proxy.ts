// Docker Engine behind a socket of our own, so that a test can take the engine away from one cluster
// and give it back, slow it down, or cut in at any call that changes something, while the engine and
// everybody else's containers go on.
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Transform } from 'node:stream';

const engineSocket = '/var/run/docker.sock';

/** Before the engine hears of a call, or after it has answered: nobody hears that answer. */
export type When = 'before' | 'after';

export interface Cut {
  /** Asked about each call that changes something: `POST /containers/create?name=x`. */
  readonly at: (call: string) => When | undefined;
  readonly onCut: () => void;
}

export class EngineProxy {
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

  cutAt(cut: Cut | undefined): void {
    this.#cut = cut;
  }

  async destroy(): Promise<void> {
    await this.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #serve(client: Socket): void {
    const engine = connect({ path: engineSocket, allowHalfOpen: true });
    const cut = (): void => this.#cut?.onCut();
    let when: When | undefined;
    const asked = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        when = this.#notice(chunk);
        if (when === 'before') return cut();
        if (this.delayMs === 0) done(null, chunk);
        else setTimeout(() => done(null, chunk), this.delayMs);
      },
    });
    const answered = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        if (when === undefined) return done(null, chunk);
        cut();
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
  #notice(chunk: Buffer): When | undefined {
    const line = /^(?:POST|PUT|DELETE) \/\S+/.exec(chunk.subarray(0, 500).toString('latin1'))?.[0];
    return line === undefined ? undefined : this.#cut?.at(line);
  }
}
