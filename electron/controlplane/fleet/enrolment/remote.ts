// A machine that somebody is logged in to: the narrow way by which everything here is done to it.

export interface Remote {
  /** This machine's own address, as the connection has it: by it that machine finds the way back. */
  readonly ownAddress: string;
  /** Resolves when the program has ended, whatever its code. Rejects with a RemoteError when that can't be known. */
  run(program: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Whether it can open a TCP connection to there; undefined: its SSH server does not tell. */
  reaches(address: string, port: number): Promise<boolean | undefined>;
  close(): void;
}

export interface RunOptions {
  /** One after another; then its end. */
  readonly stdin?: readonly StdinPart[];
  /** How many bytes of files have gone out. */
  readonly onSent?: (bytes: number) => void;
  readonly timeoutMs?: number;
}

export type StdinPart = string | { readonly file: string };

export interface RunResult {
  readonly code: number;
  /** Its beginning, if it is very long. */
  readonly stdout: string;
  /** Its end, if it is very long. */
  readonly stderr: string;
}

/** What was under way may have been done or not. The message is for a person. */
export class RemoteError extends Error {
  override readonly name = 'RemoteError';
}

export interface HostKey {
  /** `ssh-ed25519`. */
  readonly type: string;
  /** `SHA256:…`, as OpenSSH prints it. */
  readonly fingerprint: string;
}

export interface Credentials {
  readonly user: string;
  readonly password?: string;
  readonly privateKey?: string;
  readonly passphrase?: string;
  readonly useAgent?: boolean;
}

export interface Target {
  /** Tried in this order. */
  readonly addresses: readonly string[];
  readonly port: number;
}

export type Login =
  | { readonly type: 'in'; readonly remote: Remote; readonly hostKey: HostKey }
  /** None was expected, or another: hung up before anything was sent. */
  | { readonly type: 'other-host-key'; readonly hostKey: HostKey }
  | { readonly type: 'refused'; readonly hostKey: HostKey | undefined; readonly message: string }
  | { readonly type: 'unreachable'; readonly message: string };

/** `hostKey`: the fingerprint without which nothing is sent. Never rejects. */
export type OpenRemote = (
  target: Target,
  credentials: Credentials,
  options: { readonly hostKey: string | undefined; readonly signal: AbortSignal },
) => Promise<Login>;
