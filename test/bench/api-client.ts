// A client that costs little: HTTP/1.1 by hand over one TLS connection that is kept, since on a
// machine of two cores whatever the client burns is missing to the server.
import { connect, type TLSSocket } from 'node:tls';
import type { ClientConfig } from '#platform/kubeconfig.ts';

export interface Answered {
  readonly status: number;
  readonly body: Buffer;
}

interface Pending {
  readonly resolve: (answer: Answered) => void;
  readonly reject: (error: Error) => void;
}

const headEnd = Buffer.from('\r\n\r\n');

export class ApiConnection {
  readonly #socket: TLSSocket;
  readonly #host: string;
  #parts: Buffer[] = [];
  #pending: Pending | undefined;
  /** Of the answer on its way, once its head is there: bytes in all. */
  #expected:
    | { readonly status: number; readonly bodyStart: number; readonly end: number }
    | undefined;
  #bytes = 0;

  private constructor(socket: TLSSocket, host: string) {
    this.#socket = socket;
    this.#host = host;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.#pending?.reject(error));
    socket.on('close', () => this.#pending?.reject(new Error('the connection was closed')));
  }

  static open({ server, caPem, certPem, keyPem }: ClientConfig): Promise<ApiConnection> {
    const { hostname, port } = new URL(server);
    return new Promise((resolve, reject) => {
      const socket = connect(
        { host: hostname, port: Number(port), ca: caPem, cert: certPem, key: keyPem },
        () => {
          socket.setNoDelay(true);
          resolve(new ApiConnection(socket, hostname));
        },
      );
      socket.once('error', reject);
    });
  }

  /** One at a time. */
  request(method: string, path: string, body = ''): Promise<Answered> {
    const head = `${method} ${path} HTTP/1.1\r\nHost: ${this.#host}\r\nAccept: application/json\r\n`;
    const content =
      body === ''
        ? '\r\n'
        : `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    return new Promise((resolve, reject) => {
      this.#pending = { resolve, reject };
      this.#socket.write(head + content);
    });
  }

  /**
   * A request whose answer goes on: resolves when it has begun, then bytes go to `onBytes` as they
   * come, with the framing of chunks around them.
   */
  stream(path: string, onBytes: (bytes: Buffer) => void): Promise<void> {
    this.#socket.write(`GET ${path} HTTP/1.1\r\nHost: ${this.#host}\r\n\r\n`);
    return new Promise((resolve, reject) => {
      this.#socket.removeAllListeners('data').once('error', reject);
      this.#socket.once('data', (head: Buffer) => {
        if (head.toString('latin1', 9, 12) !== '200') return reject(new Error(head.toString()));
        this.#socket.on('data', onBytes);
        resolve();
      });
    });
  }

  close(): void {
    this.#pending = undefined;
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    this.#parts.push(chunk);
    this.#bytes += chunk.length;
    this.#expected ??= this.#readHead();
    if (this.#expected === undefined || this.#bytes < this.#expected.end) return;
    const { status, bodyStart, end } = this.#expected;
    const body = Buffer.concat(this.#parts).subarray(bodyStart, end);
    const pending = this.#pending;
    this.#parts = [];
    this.#bytes = 0;
    this.#expected = undefined;
    this.#pending = undefined;
    pending?.resolve({ status, body });
  }

  #readHead() {
    const all = Buffer.concat(this.#parts);
    this.#parts = [all];
    const at = all.indexOf(headEnd);
    if (at < 0) return undefined;
    const head = all.subarray(0, at).toString('latin1');
    const bodyStart = at + headEnd.length;
    const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
    if (length === undefined) throw new Error(`an answer without a length: ${head}`);
    return { status: Number(head.slice(9, 12)), bodyStart, end: bodyStart + Number(length) };
  }
}
