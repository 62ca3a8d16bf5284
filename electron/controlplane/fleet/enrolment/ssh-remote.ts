// A Remote by SSH, on ssh2 without its native parts. Loaded by the first machine that is added.
import { createReadStream } from 'node:fs';
import type { Socket } from 'node:net';
import type { Client, ClientChannel } from 'ssh2';
import type { Clock } from '#kube/base/clock.ts';
import {
  RemoteError,
  type Remote,
  type RunOptions,
  type RunResult,
  type StdinPart,
} from './remote.ts';
import { commandLine } from './shell-words.ts';

const mostStdout = 256 * 1024;
const mostStderr = 8 * 1024;
const defaultTimeoutMs = 60_000;
const reachMs = 5000;
/** RFC 4254, 5.1: the server forbids it, whatever is there. */
const administrativelyProhibited = 1;

export class SshRemote implements Remote {
  readonly ownAddress: string;
  readonly #client: Client;
  readonly #clock: Clock;
  /** Of what is under way. */
  readonly #onCut = new Set<() => void>();
  #isCut = false;

  constructor(client: Client, socket: Socket, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
    this.ownAddress = (socket.localAddress ?? '').replace(/^::ffff:/, '');
    client.on('error', () => this.#cut());
    client.on('close', () => this.#cut());
  }

  run(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const { timeoutMs = defaultTimeoutMs } = options;
    return new Promise((resolve, reject) => {
      const settle = (outcome: RunResult | RemoteError): void => {
        timer.cancel();
        this.#onCut.delete(cut);
        if (outcome instanceof RemoteError) reject(outcome);
        else resolve(outcome);
      };
      const cut = (): void => settle(new RemoteError('the connection was cut'));
      let channel: ClientChannel | undefined;
      const timer = this.#clock.timer(timeoutMs, () => {
        channel?.destroy();
        settle(new RemoteError(`it took longer than ${Math.round(timeoutMs / 1000)} s`));
      });
      if (this.#isCut) return cut();
      this.#onCut.add(cut);
      this.#client.exec(commandLine(program, args), (error, opened) => {
        if (error !== undefined)
          return settle(new RemoteError(`it starts no program: ${error.message}`));
        channel = opened;
        collect(opened, (code, said) => {
          if (this.#isCut) cut();
          else if (code === undefined) settle(new RemoteError('the program was ended there'));
          else settle({ code, ...said });
        });
        feed(opened, options).catch((why: unknown) => {
          opened.destroy();
          settle(new RemoteError(why instanceof Error ? why.message : String(why)));
        });
      });
    });
  }

  reaches(address: string, port: number): Promise<boolean | undefined> {
    return new Promise((resolve) => {
      const timer = this.#clock.timer(reachMs, () => resolve(false));
      if (this.#isCut) return resolve(undefined);
      this.#client.forwardOut('127.0.0.1', 0, address, port, (error, channel) => {
        timer.cancel();
        const reason = (error as { reason?: number } | undefined)?.reason;
        if (error === undefined) channel.destroy();
        resolve(error === undefined || (reason === administrativelyProhibited ? undefined : false));
      });
    });
  }

  close(): void {
    this.#client.end();
    this.#cut();
  }

  #cut(): void {
    this.#isCut = true;
    for (const one of this.#onCut) one();
    this.#onCut.clear();
  }
}

/** `code` undefined: a signal ended it. */
function collect(
  channel: ClientChannel,
  onEnd: (code: number | undefined, said: Pick<RunResult, 'stdout' | 'stderr'>) => void,
): void {
  let code: number | undefined;
  let [stdout, stderr] = ['', ''];
  channel.setEncoding('utf8');
  channel.stderr.setEncoding('utf8');
  channel.on('data', (text: string) => (stdout = (stdout + text).slice(0, mostStdout)));
  channel.stderr.on('data', (text: string) => (stderr = (stderr + text).slice(-mostStderr)));
  channel.on('exit', (given: number | null) => (code = given ?? undefined));
  channel.on('error', () => undefined);
  channel.on('close', () => onEnd(code, { stdout, stderr }));
}

/** A program that ends before it has read all is its own affair. */
async function feed(channel: ClientChannel, { stdin = [], onSent }: RunOptions): Promise<void> {
  const ended = new Promise<void>((resolve) => void channel.once('close', () => resolve()));
  let isOpen = true;
  void ended.then(() => (isOpen = false));
  let sent = 0;
  for (const part of stdin) {
    for await (const chunk of chunksOf(part)) {
      if (!isOpen) return;
      if (!channel.write(chunk)) {
        const drained = new Promise<void>((resolve) => void channel.once('drain', () => resolve()));
        await Promise.race([drained, ended]);
      }
      if (typeof part !== 'string') onSent?.((sent += chunk.length));
    }
  }
  channel.end();
}

async function* chunksOf(part: StdinPart): AsyncGenerator<Uint8Array> {
  if (typeof part === 'string') yield Buffer.from(part, 'utf8');
  else for await (const chunk of createReadStream(part.file)) yield chunk as Uint8Array;
}
