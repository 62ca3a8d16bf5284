// One question to one server, and its answer. A socket of its own for each, on a port that the kernel
// draws: what is not from that server, or not to that question, is not heard (RFC 5452).
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import type { Clock } from '#kube/base/clock.ts';

export interface Server {
  readonly address: string;
  readonly port: number;
}

export interface Request {
  readonly server: Server;
  readonly message: Buffer;
  readonly transport: 'udp' | 'tcp';
  readonly timeoutMs: number;
  /** Whether these bytes are the answer; others are passed over. */
  readonly accepts: (message: Buffer) => boolean;
}

/** Rejects when there is no answer in time, with what happened. */
export type Exchange = (request: Request) => Promise<Buffer>;

export function systemExchange(clock: Clock): Exchange {
  return (request) => (request.transport === 'udp' ? askUdp : askTcp)(request, clock);
}

function askUdp({ server, message, timeoutMs, accepts }: Request, clock: Clock): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(server.address) ? 'udp6' : 'udp4');
    const timer = clock.timer(timeoutMs, () => end(new Error('no answer in time')));
    let isOver = false;
    const end = (outcome: Buffer | Error): void => {
      if (isOver) return;
      isOver = true;
      timer.cancel();
      socket.close();
      if (outcome instanceof Error) reject(outcome);
      else resolve(outcome);
    };
    socket.on('error', end);
    socket.on('message', (answer) => {
      if (accepts(answer)) end(answer);
    });
    socket.connect(server.port, server.address, () => {
      if (!isOver) socket.send(message, (error) => error && end(error));
    });
  });
}

function askTcp({ server, message, timeoutMs, accepts }: Request, clock: Clock): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, server.address);
    const timer = clock.timer(timeoutMs, () => socket.destroy(new Error('no answer in time')));
    let received: Buffer = Buffer.alloc(0);
    socket.on('error', reject);
    socket.on('close', () => {
      timer.cancel();
      reject(new Error('the connection ended before the answer'));
    });
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      for (let next = frame(received); next !== undefined; next = frame(received)) {
        received = received.subarray(next.length + 2);
        if (!accepts(next)) continue;
        resolve(next);
        socket.destroy();
        return;
      }
    });
    const length = Buffer.alloc(2);
    length.writeUInt16BE(message.length);
    socket.write(Buffer.concat([length, message]));
  });
}

function frame(bytes: Buffer): Buffer | undefined {
  if (bytes.length < 2) return undefined;
  const length = bytes.readUInt16BE(0);
  return bytes.length < length + 2 ? undefined : bytes.subarray(2, length + 2);
}
