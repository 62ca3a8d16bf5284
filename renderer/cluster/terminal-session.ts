// One shell in one container, over a WebSocket on this page's own origin. Bounded by the socket: a
// terminal that is written to faster than it draws gets its bytes through xterm's own queue.
import type { Status } from '#kube/api/meta.ts';
import {
  endSentence,
  execPath,
  sizeMessage,
  terminalChannel,
  terminalProtocol,
  type Shell,
  type TerminalTarget,
} from '../state/terminal.ts';

export interface TerminalSession {
  send(text: string): void;
  resize(columns: number, rows: number): void;
  close(): void;
}

export interface TerminalEvents {
  readonly onOpen: () => void;
  readonly onOutput: (bytes: Uint8Array) => void;
  /** With a sentence; not called after `close`. */
  readonly onEnd: (sentence: string) => void;
}

const encoder = new TextEncoder();
/** Of the last output: enough to see that there was no shell. */
const keptOutput = 500;

export function openTerminal(
  target: TerminalTarget,
  shell: Shell,
  { onOpen, onOutput, onEnd }: TerminalEvents,
): TerminalSession {
  const url = `${location.origin.replace(/^http/, 'ws')}${execPath(target, shell)}`;
  const socket = new WebSocket(url, terminalProtocol);
  socket.binaryType = 'arraybuffer';
  let status: Status | undefined;
  let said = '';
  let isClosed = false;
  socket.addEventListener('open', onOpen);
  socket.addEventListener('message', ({ data }) => {
    const message = new Uint8Array(data as ArrayBuffer);
    const bytes = message.subarray(1);
    if (message[0] === terminalChannel.error) status = statusOf(bytes);
    if (message[0] !== terminalChannel.stdout || bytes.length === 0) return;
    said = `${said}${new TextDecoder().decode(bytes)}`.slice(-keptOutput);
    onOutput(bytes);
  });
  socket.addEventListener('close', () => {
    if (!isClosed) onEnd(endSentence(status, said));
  });

  function send(channel: number, text: string): void {
    if (socket.readyState !== WebSocket.OPEN) return;
    const bytes = encoder.encode(text);
    const message = new Uint8Array(bytes.length + 1);
    message[0] = channel;
    message.set(bytes, 1);
    socket.send(message);
  }

  return {
    send: (text) => send(terminalChannel.stdin, text),
    resize: (columns, rows) => send(terminalChannel.resize, sizeMessage(columns, rows)),
    close() {
      isClosed = true;
      socket.close();
    },
  };
}

function statusOf(bytes: Uint8Array): Status {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as Status;
  } catch {
    return { status: 'Failure', message: 'The shell ended in a way that is not understood.' };
  }
}
