// How a request to upgrade is answered: with the new protocol, or with why not.
import type { Duplex } from 'node:stream';

/** Sockets that have left HTTP: too late for an HTTP answer. */
const upgraded = new WeakSet<Duplex>();

export function leaveHttp(socket: Duplex): void {
  upgraded.add(socket);
}

export function accept(
  socket: Duplex,
  protocol: string,
  headers: Readonly<Record<string, string>>,
): void {
  const all = { connection: 'Upgrade', upgrade: protocol, ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  leaveHttp(socket);
  socket.write(['HTTP/1.1 101 Switching Protocols', ...lines, '', ''].join('\r\n'));
}

const reasons: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  429: 'Too Many Requests',
};

/** As the HTTP answer to the upgrade; a connection that was upgraded already is only ended. */
export function refuse(socket: Duplex, code: number, message: string): void {
  if (socket.destroyed || upgraded.has(socket)) return void socket.destroy();
  const body = Buffer.from(message);
  const head = [
    `HTTP/1.1 ${code} ${reasons[code] ?? 'Internal Server Error'}`,
    'content-type: text/plain; charset=utf-8',
    `content-length: ${body.length}`,
    'connection: close',
  ];
  socket.end(Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]));
}
