// Connections into a pod. Port forwarding means the pod's own localhost, where servers listen that
// the pod's address does not lead to: as root a helper process joins the pod's network namespace,
// connects there, and hands the connected socket over; so no byte passes through it. Elsewhere the
// pod's address has to do. Node has no setns: nsenter and one small process for each session.
// Source: containerd internal/cri/server/sandbox_portforward_linux.go.
import { spawn, type ChildProcess } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import type { SandboxStatus } from '../../runtime/runtime.ts';

export interface PodNetwork {
  /** The socket has read nothing yet. Rejects with a sentence that names the port. */
  connect(port: number): Promise<Socket>;
  close(): void;
}

export interface PodDialer {
  /** The pod's localhost, for one session. */
  open(sandbox: SandboxStatus): PodNetwork;
  /** The pod as others see it. */
  dialAddress(sandbox: SandboxStatus, port: number): Promise<Socket>;
}

const localhost = ['127.0.0.1', '::1'];

export function systemDialer(isRoot: boolean): PodDialer {
  const canEnter = isRoot && process.platform === 'linux';
  return {
    open(sandbox) {
      if (sandbox.hostNetwork) return direct(localhost);
      if (canEnter && sandbox.pid > 1) return new NamespaceNetwork(sandbox);
      return direct([sandbox.ip]);
    },
    dialAddress(sandbox, port) {
      const host = sandbox.hostNetwork ? '127.0.0.1' : sandbox.ip;
      return direct([host]).connect(port);
    },
  };
}

function direct(hosts: readonly string[]): PodNetwork {
  return {
    async connect(port) {
      const reasons: string[] = [];
      for (const host of hosts) {
        try {
          return await connected(host, port);
        } catch (error) {
          reasons.push((error as NodeJS.ErrnoException).code ?? String(error));
        }
      }
      const told = hosts.map((host, index) => dialText(host, port, reasons[index]));
      throw new Error(told.join(' '));
    },
    close: () => undefined,
  };
}

function connected(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

/** Errors of Node in the words of Go's dialer. */
const words: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connect: connection refused',
  EHOSTUNREACH: 'connect: no route to host',
  ENETUNREACH: 'connect: network is unreachable',
  EADDRNOTAVAIL: 'connect: cannot assign requested address',
  ETIMEDOUT: 'i/o timeout',
};

function dialText(host: string, port: number, reason = ''): string {
  const address = host.includes(':') ? `[${host}]` : host;
  return `dial tcp ${address}:${port}: ${words[reason] ?? reason}`;
}

/** Runs in the pod's network namespace, on the same Node. Nothing of the pod's is executed. */
const helperScript = `
const { connect } = require('node:net');
process.on('disconnect', () => process.exit());
process.on('message', ({ id, port }) => {
  const reasons = [];
  (function next([host, ...others]) {
    if (host === undefined) return process.send({ id, reasons });
    const socket = connect({ host, port, allowHalfOpen: true });
    socket.pause();
    const fail = (error) => { reasons.push(error.code ?? error.message); next(others); };
    socket.once('error', fail);
    socket.once('connect', () => { socket.off('error', fail); process.send({ id }, socket); });
  })(${JSON.stringify(localhost)});
});
`;

interface Answer {
  readonly id: number;
  readonly reasons?: readonly string[];
}

interface Wait {
  readonly port: number;
  readonly resolve: (socket: Socket) => void;
  readonly reject: (error: Error) => void;
}

class NamespaceNetwork implements PodNetwork {
  readonly #sandbox: SandboxStatus;
  readonly #waiting = new Map<number, Wait>();
  #helper: ChildProcess | undefined;
  #lastId = 0;

  constructor(sandbox: SandboxStatus) {
    this.#sandbox = sandbox;
  }

  connect(port: number): Promise<Socket> {
    this.#helper ??= this.#start();
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { port, resolve, reject });
      this.#helper?.send({ id, port });
    });
  }

  close(): void {
    this.#helper?.disconnect();
    this.#helper = undefined;
  }

  #start(): ChildProcess {
    const where = ['--target', String(this.#sandbox.pid), '--net', '--'];
    const command = [process.execPath, '--no-warnings', '--eval', helperScript];
    const helper = spawn('nsenter', [...where, ...command], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // Inside Electron the same binary is a Node.
      env: { PATH: process.env['PATH'], ELECTRON_RUN_AS_NODE: '1' },
    });
    let said = '';
    helper.stderr?.on('data', (text: Buffer) => (said = `${said}${String(text)}`.slice(-500)));
    helper.on('message', (message, socket) => this.#onAnswer(message as Answer, socket));
    const end = (why: string): void => {
      if (this.#helper === helper) this.#helper = undefined;
      for (const { port, reject } of this.#takeAll())
        reject(new Error(`failed to connect to localhost:${port} inside the pod: ${why}`));
    };
    helper.once('error', (error) => end(error.message));
    helper.once('close', () => end(said.trim() === '' ? 'its helper ended' : said.trim()));
    return helper;
  }

  #onAnswer({ id, reasons }: Answer, socket: unknown): void {
    const wait = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (wait === undefined) return void (socket as Socket | undefined)?.destroy();
    if (socket === undefined) return wait.reject(this.#failure(wait.port, reasons ?? []));
    const open = socket as Socket;
    open.allowHalfOpen = true;
    wait.resolve(open);
  }

  #failure(port: number, reasons: readonly string[]): Error {
    const where = `namespace "/proc/${this.#sandbox.pid}/ns/net"`;
    const [v4, v6] = localhost.map((host, index) => dialText(host, port, reasons[index]));
    const told = `IPv4: ${v4} IPv6 ${v6}`;
    return new Error(`failed to connect to localhost:${port} inside ${where}, ${told}`);
  }

  #takeAll(): readonly Wait[] {
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    return all;
  }
}
