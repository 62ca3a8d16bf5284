// What a client and a process in a container say to each other (exec, attach), whichever protocol
// carries it: spdy-remote-streams.ts and websocket-remote-streams.ts make it, the agent uses it.
// Source: kubernetes kubelet pkg/cri/streaming/remotecommand.
import type { Readable, Writable } from 'node:stream';
import type { Status } from '#kube/api/meta.ts';

/** What the request asks for. With a terminal there is no stderr of its own. */
export interface WantedStreams {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

export interface TerminalSize {
  readonly width: number;
  readonly height: number;
}

export interface RemoteStreams {
  /** Ends when the client closes its half. */
  readonly stdin?: Readable;
  readonly stdout?: Writable;
  readonly stderr?: Writable;
  /** The sizes of the client's terminal; none without one. */
  readonly sizes: TerminalSizes;
  /** Aborts when the client is gone. */
  readonly signal: AbortSignal;
  /** Tells how it ended, after all output, and ends the connection. */
  finish(status: Status): Promise<void>;
}

const successStatus: Status = { metadata: {}, status: 'Success' };

/** As protocols before v4 have it: a text when something went wrong, nothing otherwise. */
export function statusText(status: Status): string {
  return status.status === 'Success' ? '' : (status.message ?? 'unknown error');
}

export function exitStatus(exitCode: number, command: readonly string[]): Status {
  if (exitCode === 0) return successStatus;
  const why = `error executing command [${command.join(' ')}], exit code ${exitCode}`;
  return {
    metadata: {},
    status: 'Failure',
    message: `command terminated with non-zero exit code: ${why}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(exitCode) }] },
  };
}

const sizeMax = 65_535;
/** A size is some twenty bytes; what never becomes one is not kept. */
const resizeTextMax = 1024;

/**
 * JSON objects that follow one another, `{"Width":80,"Height":24}`; bad ones are passed over. The
 * first comes before the process has begun: it is kept for whoever listens later.
 */
export class TerminalSizes {
  #text = '';
  #newest: TerminalSize | undefined;
  #listener: ((size: TerminalSize) => void) | undefined;

  push(bytes: Uint8Array): void {
    this.#text += Buffer.from(bytes).toString('latin1');
    let newest: TerminalSize | undefined;
    for (let end = this.#text.indexOf('}'); end >= 0; end = this.#text.indexOf('}')) {
      newest = parseSize(this.#text.slice(0, end + 1)) ?? newest;
      this.#text = this.#text.slice(end + 1);
    }
    if (this.#text.length > resizeTextMax) this.#text = '';
    if (newest === undefined) return;
    this.#newest = newest;
    this.#listener?.(newest);
  }

  /** From the newest one known on. */
  listen(listener: (size: TerminalSize) => void): void {
    this.#listener = listener;
    if (this.#newest !== undefined) listener(this.#newest);
  }
}

function parseSize(text: string): TerminalSize | undefined {
  try {
    const { Width: width, Height: height } = JSON.parse(text) as Record<string, unknown>;
    return isSize(width) && isSize(height) ? { width, height } : undefined;
  } catch {
    return undefined;
  }
}

function isSize(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) <= sizeMax;
}
