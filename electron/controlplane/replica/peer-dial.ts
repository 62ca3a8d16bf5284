// One attempt to reach one member at one address: TLS with both certificates checked, then the
// handshake. It ends in exactly one call of `done`, unless it is cancelled.
// Invariant: nothing is said to a server whose key is not the expected member's.
import { X509Certificate } from 'node:crypto';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { peerMemberId } from '#platform/certificate.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { MemberId } from '../raft/types.ts';
import {
  encodeHello,
  GreetingReader,
  readAnswer,
  type Hello,
  type Refusal,
} from './peer-handshake.ts';

const timeoutMs = 3000;
/** A machine that went without a word is noticed by the system after a minute or so. */
export const keepAliveMs = 15_000;

export interface PeerCredentials {
  readonly caPem: string;
  /** Of the member's own key, by ClusterPki.peer. */
  readonly certPem: string;
  readonly keyPem: string;
}

export type DialResult =
  /** Welcome. `rest`: what the other side said behind its answer. */
  | { readonly type: 'open'; readonly socket: TLSSocket; readonly rest: Buffer }
  | { readonly type: 'refused'; readonly refusal: Refusal }
  | { readonly type: 'failed'; readonly error: Error };

export interface DialOptions {
  /** `host:port`, IPv6 in brackets. */
  readonly address: string;
  readonly hello: Hello;
  readonly context: SecureContext;
  readonly clock: Clock;
}

export function clientContext({ caPem, certPem, keyPem }: PeerCredentials): SecureContext {
  return createSecureContext({ ca: caPem, cert: certPem, key: keyPem, minVersion: 'TLSv1.3' });
}

/** On `open` the socket is the caller's, with no listener left on it. */
export function dial(
  { address, hello, context, clock }: DialOptions,
  done: (result: DialResult) => void,
): { cancel(): void } {
  const target = parseAddress(address);
  if (target === undefined) return fails(new Error(`${address} is not an address`), done);
  const socket = connect({
    ...target,
    secureContext: context,
    // Members are known by their keys: names and addresses may change.
    servername: '',
    checkServerIdentity: (_host, { raw }) => identityError(raw, hello.to),
    rejectUnauthorized: true,
  });
  const patience = clock.timer(timeoutMs, () =>
    fail(new Error(`no answer from ${address} within ${timeoutMs / 1000} s`)),
  );
  const greeting = new GreetingReader();

  function finish(): void {
    patience.cancel();
    socket.removeListener('secureConnect', greet);
    socket.removeListener('data', listen);
    socket.removeListener('close', breakOff);
    socket.removeListener('error', fail);
  }
  function drop(): void {
    finish();
    socket.on('error', ignore);
    socket.destroy();
  }
  function fail(error: Error): void {
    drop();
    done({ type: 'failed', error });
  }
  function breakOff(): void {
    fail(new Error(`${address} ended the connection`));
  }
  function greet(): void {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, keepAliveMs);
    socket.write(encodeHello(hello));
  }
  function listen(chunk: Buffer): void {
    let read: ReturnType<GreetingReader['push']>;
    let refusal: Refusal | undefined;
    try {
      read = greeting.push(chunk);
      if (read === undefined) return;
      refusal = readAnswer(read.greeting);
    } catch (error) {
      return fail(error as Error);
    }
    if (refusal === undefined) {
      finish();
      done({ type: 'open', socket, rest: read.rest });
    } else {
      drop();
      done({ type: 'refused', refusal });
    }
  }

  socket.once('secureConnect', greet);
  socket.on('data', listen);
  socket.once('close', breakOff);
  socket.on('error', fail);
  return { cancel: drop };
}

/** Soon, never at once. */
export function fails(error: Error, done: (result: DialResult) => void): { cancel(): void } {
  let isCancelled = false;
  queueMicrotask(() => {
    if (!isCancelled) done({ type: 'failed', error });
  });
  return {
    cancel() {
      isCancelled = true;
    },
  };
}

/** `[fd00::5]:7000` or `nas.local:7000`. */
function parseAddress(address: string): { host: string; port: number } | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  return host === undefined || port < 1 || port > 65_535 ? undefined : { host, port };
}

function identityError(certificate: Buffer, expected: MemberId): Error | undefined {
  const id = peerMemberId(new X509Certificate(certificate));
  if (id === expected) return undefined;
  const found = id === undefined ? 'no control-plane member' : `member ${id}`;
  return new Error(`expected member ${expected}, but there is ${found}`);
}

function ignore(): void {
  // It was given up: what becomes of it is nobody's concern.
}
