// Docker Engine behind a socket of our own, so that a test can take the engine away from one cluster
// and give it back, while the engine and everybody else's containers go on.
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

const engineSocket = '/var/run/docker.sock';

export class EngineProxy {
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

  async destroy(): Promise<void> {
    await this.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #serve(client: Socket): void {
    const engine = connect({ path: engineSocket, allowHalfOpen: true });
    for (const [socket, other] of [
      [client, engine],
      [engine, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.pipe(other);
      // Whatever ends one half ends the other; a broken connection is what this is for.
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
  }
}
