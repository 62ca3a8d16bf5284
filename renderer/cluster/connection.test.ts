import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { TransportError } from '#kube/client/transport.ts';
import { Connection, type ConnectionState } from './connection.ts';
import type { SocketLike } from './socket-stream.ts';

class FakeSocket extends EventTarget {
  binaryType: BinaryType = 'blob';
  readonly url: string;
  closedWith: number | undefined;

  constructor(url: string) {
    super();
    this.url = url;
  }
  open(): void {
    this.dispatchEvent(new Event('open'));
  }
  say(data: unknown): void {
    this.dispatchEvent(Object.assign(new Event('message'), { data }));
  }
  end(code: number): void {
    this.dispatchEvent(Object.assign(new Event('close'), { code }));
  }
  close(code?: number): void {
    this.closedWith ??= code;
  }
}

type Answer = Response | 'unreachable';

function setUp(answers: Answer[]) {
  const clock = new ManualClock();
  const states: ConnectionState['kind'][] = [];
  const asked: string[] = [];
  const sockets: FakeSocket[] = [];
  const connection = new Connection({
    fetch: (input) => {
      asked.push(input instanceof Request ? input.url : input.toString());
      const answer = answers.shift() ?? 'unreachable';
      return answer === 'unreachable'
        ? Promise.reject(new TypeError('Failed to fetch'))
        : Promise.resolve(answer);
    },
    openSocket: (url) => {
      const socket = new FakeSocket(url);
      sockets.push(socket);
      return socket as unknown as SocketLike;
    },
    origin: 'http://127.0.0.1:7480',
    clock,
    onStateChange: ({ kind }) => states.push(kind),
  });
  return { connection, clock, states, asked, sockets };
}

/** Lets everything run that needs no time. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

async function readAll(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  let text = '';
  for await (const chunk of chunks) text += new TextDecoder().decode(chunk);
  return text;
}

const get = { method: 'GET', path: '/api/v1/pods' } as const;

describe('request', () => {
  it('leaves undefined query values out', async () => {
    const { connection, asked } = setUp([new Response('{}')]);
    await connection.request({ ...get, query: { limit: 5, continue: undefined } });
    expect(asked).toEqual(['http://127.0.0.1:7480/api/v1/pods?limit=5']);
  });

  it('answers any status; only a broken connection throws', async () => {
    const { connection } = setUp([
      new Response('no', { status: 409, headers: { 'X-A': 'b' } }),
      'unreachable',
    ]);
    const { status, headers } = await connection.request(get);
    expect([status, headers['x-a']]).toEqual([409, 'b']);
    await expect(connection.request({ method: 'POST', path: '/x' })).rejects.toThrow(
      TransportError,
    );
  });

  it('says so when the server does not know this page, and asks nothing until it does', async () => {
    const { connection, states, asked } = setUp([
      new Response('', { status: 401 }),
      new Response('', { status: 401 }),
      new Response('{}'),
      new Response('[]'),
    ]);
    await connection.request(get);
    const held = connection.request(get);
    await connection.recheck();
    expect([states, asked.length]).toEqual([['signed-out'], 2]);
    await connection.recheck();
    expect((await held).status).toBe(200);
    expect(states).toEqual(['signed-out', 'connected']);
  });
});

describe('a lost connection', () => {
  it('is looked for until the server answers, and reads wait for that', async () => {
    const { connection, clock, states, asked } = setUp([
      'unreachable',
      'unreachable',
      new Response('{}'),
      new Response('[]'),
    ]);
    await expect(connection.request({ method: 'PUT', path: '/x' })).rejects.toThrow(TransportError);
    const read = connection.request(get);
    clock.advance(250);
    await settle();
    expect(asked.slice(1)).toEqual(['http://127.0.0.1:7480/version']);
    clock.advance(500);
    await settle();
    expect((await read).status).toBe(200);
    expect(states).toEqual(['lost', 'connected']);
  });

  it('does not count while the server itself is not ready', async () => {
    const { connection, clock, states } = setUp(['unreachable', new Response('', { status: 503 })]);
    await expect(connection.request({ method: 'PUT', path: '/x' })).rejects.toThrow(TransportError);
    clock.advance(250);
    await settle();
    expect(states).toEqual(['lost']);
  });

  it('lets go of a read whose reader has gone', async () => {
    const { connection } = setUp(['unreachable']);
    await expect(connection.request({ method: 'PUT', path: '/x' })).rejects.toThrow(TransportError);
    const abort = new AbortController();
    const read = connection.request({ ...get, signal: abort.signal });
    abort.abort();
    await expect(read).rejects.toThrow('given up');
  });

  it('is not what an aborted request is', async () => {
    const { connection, states } = setUp(['unreachable']);
    const signal = AbortSignal.abort();
    await expect(connection.request({ ...get, signal })).rejects.toThrow(TransportError);
    expect(states).toEqual([]);
  });
});

describe('stream', () => {
  async function open(answers: Answer[] = []) {
    const setup = setUp(answers);
    const pending = setup.connection.stream({ ...get, query: { watch: true } });
    await settle();
    const socket = setup.sockets[0];
    if (socket === undefined) throw new Error('no socket was opened');
    return { ...setup, pending, socket };
  }

  it('is a WebSocket of which each message is a line', async () => {
    const { pending, socket } = await open();
    socket.open();
    const { chunks } = await pending;
    socket.say('{"type":"ADDED"}');
    socket.say(new TextEncoder().encode('par').buffer);
    socket.say(new TextEncoder().encode('tial\n').buffer);
    socket.end(1000);
    expect(socket.url).toBe('ws://127.0.0.1:7480/api/v1/pods?watch=true');
    expect(await readAll(chunks)).toBe('{"type":"ADDED"}\npartial\n');
  });

  it('that breaks gives what came, then throws, and the connection counts as lost', async () => {
    const { pending, socket, states } = await open();
    socket.open();
    const { chunks } = await pending;
    const iterator = chunks[Symbol.asyncIterator]();
    socket.say('{}');
    socket.end(1006);
    expect((await iterator.next()).done).toBe(false);
    await expect(iterator.next()).rejects.toThrow(TransportError);
    expect(states).toEqual(['lost']);
  });

  it('that is refused tells the status by a plain request', async () => {
    const { pending, socket, asked } = await open([new Response('gone', { status: 410 })]);
    socket.end(1006);
    const { status, chunks } = await pending;
    expect([status, await readAll(chunks), asked.length]).toEqual([410, 'gone', 1]);
  });

  it('of Tables goes over fetch, as a WebSocket has no headers', async () => {
    const { connection, sockets } = setUp([new Response('{}')]);
    await connection.stream({
      ...get,
      headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
    });
    expect(sockets).toEqual([]);
  });

  it('closes its socket when its reader leaves', async () => {
    const { pending, socket } = await open();
    socket.open();
    const iterator = (await pending).chunks[Symbol.asyncIterator]();
    socket.say('{}');
    await iterator.next();
    await iterator.return?.(undefined);
    expect(socket.closedWith).toBe(1000);
  });

  it('loses itself rather than the memory when its reader is too slow', async () => {
    const { pending, socket } = await open();
    socket.open();
    const { chunks } = await pending;
    const message = new ArrayBuffer(17 * 1024 * 1024);
    for (let count = 0; count < 4; count++) socket.say(message);
    await expect(readAll(chunks)).rejects.toThrow('faster than this page can read');
  });
});
