// Asks a port for an SSH server's first line, says nothing, and hangs up.
import { connect } from 'node:net';
import type { Clock } from '#kube/base/clock.ts';
import type { SshAnswer } from '../addable.ts';
import { readGreeting } from '../ssh-greeting.ts';

const waitMs = 3000;
/** A server may say other lines before (RFC 4253, 4.2), but not for ever. */
const maxBytes = 4096;

export interface AskOptions {
  /** Address of this machine to ask from. */
  readonly from?: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Never rejects. */
export function askSsh(
  address: string,
  port: number,
  { from, signal, clock }: AskOptions,
): Promise<SshAnswer> {
  return new Promise((resolve) => {
    const socket = connect({
      host: address,
      port,
      ...(from !== undefined && { localAddress: from }),
    });
    let isConnected = false;
    let text = '';
    const settle = (answer: SshAnswer): void => {
      timer.cancel();
      signal.removeEventListener('abort', silent);
      socket.destroy();
      resolve(answer);
    };
    const silent = (): void => settle(isConnected ? { type: 'not-ssh' } : { type: 'silent' });
    const timer = clock.timer(waitMs, silent);
    signal.addEventListener('abort', silent, { once: true });
    socket.setEncoding('latin1');
    socket.on('connect', () => (isConnected = true));
    socket.on('data', (chunk: string) => {
      text += chunk;
      const line = text
        .split('\n')
        .find((one, index, all) => index < all.length - 1 && one.startsWith('SSH-'));
      const greeting = line === undefined ? undefined : readGreeting(line);
      if (greeting !== undefined) settle({ type: 'greeting', greeting });
      else if (line !== undefined || text.length > maxBytes) settle({ type: 'not-ssh' });
    });
    socket.on('end', () => settle({ type: 'not-ssh' }));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (isConnected) settle({ type: 'not-ssh' });
      else settle({ type: error.code === 'ECONNREFUSED' ? 'closed' : 'silent' });
    });
  });
}
