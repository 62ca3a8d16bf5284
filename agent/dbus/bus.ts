// The system bus: one connection over its unix socket, calls with their answers, signals that were asked for. What
// is held on a connection (such as names at avahi) ends with it. Nobody is started by being called.
// Source: D-Bus Specification, "Authentication Protocol" (EXTERNAL), "Message Bus".
import { createConnection, type Socket } from 'node:net';
import { delay, type Clock } from '#kube/base/clock.ts';
import { decode, encode, type BusMessage, type Value } from './message.ts';

export interface BusCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature?: string;
  readonly body?: readonly Value[];
}

/** The other side's answer: its name (`org.freedesktop.…`) and words. */
export class BusError extends Error {
  override readonly name = 'BusError';
  readonly errorName: string;

  constructor(errorName: string, words: string) {
    super(words === '' ? errorName : words);
    this.errorName = errorName;
  }
}

export interface BusOptions {
  /** Of the socket. */
  readonly path: string;
  readonly userId: number;
  readonly clock: Clock;
  readonly onSignal: (signal: BusMessage) => void;
  /** Once, when it ends before `close`. */
  readonly onEnd: (why: string) => void;
}

/** The bus itself. */
export const bus = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
} as const;

/** Where it is, of a process' environment; undefined: by a way other than a socket's path. */
export function systemBusPath(variables: Readonly<Record<string, string | undefined>>) {
  const { DBUS_SYSTEM_BUS_ADDRESS: given = 'unix:path=/run/dbus/system_bus_socket' } = variables;
  return /(?:^|;)unix:(?:[^;]*,)?path=([^,;]+)/.exec(given)?.[1];
}

const answerMs = 10_000;

export class Bus {
  readonly #socket: Socket;
  readonly #options: BusOptions;
  readonly #calls = new Map<number, PromiseWithResolvers<readonly Value[]>>();
  #received: Buffer = Buffer.alloc(0);
  #serial = 0;
  #isOver = false;

  private constructor(socket: Socket, options: BusOptions) {
    this.#socket = socket;
    this.#options = options;
  }

  /** Rejects when there is none, or it takes no one. */
  static async open(options: BusOptions): Promise<Bus> {
    const { path, userId, clock } = options;
    const socket = createConnection({ path });
    const connection = new Bus(socket, options);
    const authenticated = new Promise<void>((resolve, reject) => {
      socket.once('error', reject).once('close', () => reject(new Error('the bus hung up')));
      socket.once('data', (words: Buffer) => {
        // One line, and nothing more before we begin.
        if (words.toString('latin1').startsWith('OK ')) resolve();
        else reject(new Error(`the bus said: ${words.toString('latin1').trim()}`));
      });
    });
    socket.on('error', () => {});
    const identity = Buffer.from(String(userId)).toString('hex');
    socket.write(`\0AUTH EXTERNAL ${identity}\r\n`);
    try {
      await within(clock, authenticated);
    } catch (error) {
      socket.destroy();
      throw error;
    }
    socket.write('BEGIN\r\n');
    socket.on('data', (bytes: Buffer) => connection.#receive(bytes));
    socket.on('close', () => connection.#end('the bus hung up'));
    await connection.call({ ...bus, member: 'Hello' });
    return connection;
  }

  /** The values of its answer. Throws a `BusError`, or why there was none. */
  async call({ signature, body = [], ...to }: BusCall): Promise<readonly Value[]> {
    if (this.#isOver) throw new Error('the bus hung up');
    const serial = ++this.#serial;
    const answer = Promise.withResolvers<readonly Value[]>();
    this.#calls.set(serial, answer);
    const typed = signature === undefined ? {} : { signature };
    this.#socket.write(encode({ type: 'call', serial, ...to, ...typed, body }));
    try {
      return await within(this.#options.clock, answer.promise);
    } finally {
      this.#calls.delete(serial);
    }
  }

  close(): void {
    this.#isOver = true;
    this.#socket.destroy();
    this.#fail('the connection was closed');
  }

  #receive(bytes: Buffer): void {
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes]);
    try {
      for (;;) {
        const read = decode(this.#received);
        if (read === undefined) return;
        this.#received = this.#received.subarray(read.length);
        this.#take(read.message);
      }
    } catch (error) {
      this.#end(error instanceof Error ? error.message : String(error));
    }
  }

  #take(message: BusMessage): void {
    if (message.type === 'signal') return this.#options.onSignal(message);
    const call = this.#calls.get(message.replySerial ?? 0);
    if (message.type === 'return') call?.resolve(message.body);
    if (message.type !== 'error') return;
    const [words] = message.body;
    const { errorName = 'org.freedesktop.DBus.Error.Failed' } = message;
    call?.reject(new BusError(errorName, typeof words === 'string' ? words : ''));
  }

  #end(why: string): void {
    if (this.#isOver) return;
    this.close();
    this.#options.onEnd(why);
  }

  #fail(why: string): void {
    for (const { reject } of this.#calls.values()) reject(new Error(why));
    this.#calls.clear();
  }
}

/** The answer, or no longer than the bus itself would wait for it. */
async function within<T>(clock: Clock, answer: Promise<T>): Promise<T> {
  const over = new AbortController();
  const late = delay(clock, answerMs, over.signal).then(() => {
    if (!over.signal.aborted) throw new Error(`no answer within ${answerMs / 1000} s`);
    return answer;
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    over.abort();
    late.catch(() => {});
  }
}
