import { describe, expect, it } from 'vitest';
import type { ApiHandler, ApiRequest } from './apiserver/http.ts';
import { LoopbackTransport } from './loopback-transport.ts';

const user = { name: 'system:kube-scheduler', groups: [] };

function transport(handler: ApiHandler): LoopbackTransport {
  return new LoopbackTransport({ handler, user });
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

describe('the loopback transport', () => {
  it('hands on method, path, query, headers, body and the identity', async () => {
    let seen: ApiRequest | undefined;
    const answer = await transport(async (request) => {
      seen = request;
      return { status: 201, headers: { a: 'b' }, body: text(await request.readBody()) };
    }).request({
      method: 'POST',
      path: '/api/v1/pods',
      query: { dryRun: 'All', limit: 5, force: true, continue: undefined },
      headers: { 'content-type': 'application/json' },
      body: 'ä',
    });
    expect([answer.status, answer.headers, text(answer.body)]).toEqual([201, { a: 'b' }, 'ä']);
    expect([seen?.method, seen?.path, String(seen?.query), seen?.user]).toEqual([
      'POST',
      '/api/v1/pods',
      'dryRun=All&limit=5&force=true',
      user,
    ]);
  });

  it('gathers a streamed answer for a plain request', async () => {
    const answer = await transport(async () => ({
      status: 200,
      headers: {},
      body: (async function* () {
        yield 'a';
        yield new Uint8Array([98]);
      })(),
    })).request({ method: 'GET', path: '/' });
    expect(text(answer.body)).toBe('ab');
  });

  it('gathers the slices of a long answer', async () => {
    const slice = new Uint8Array(1);
    const body = {
      byteLength: 3,
      *slices() {
        for (const letter of 'abc') {
          slice.set([letter.charCodeAt(0)]);
          yield slice;
        }
      },
    };
    const handler: ApiHandler = async () => ({ status: 200, headers: {}, body });
    const answer = await transport(handler).request({ method: 'GET', path: '/' });
    expect(text(answer.body)).toBe('abc');
  });

  it('hands over the objects of a stream as they are, and everything else as bytes', async () => {
    const document = Object.freeze({ type: 'ADDED' });
    const handler: ApiHandler = async () => ({
      status: 200,
      headers: {},
      body: (async function* () {
        yield 'a';
        yield {
          document,
          get bytes(): Uint8Array {
            throw new Error('nobody needs bytes');
          },
        };
      })(),
    });
    const { messages } = await transport(handler).stream({ method: 'GET', path: '/' });
    const seen: unknown[] = [];
    for await (const message of messages ?? [])
      seen.push(message instanceof Uint8Array ? text(message) : message.document);
    expect(seen).toEqual(['a', document]);
    expect(seen[1]).toBe(document);
  });

  it('keeps to the body limit of the real listeners', async () => {
    const handler: ApiHandler = async ({ readBody }) => {
      await readBody();
      return { status: 200, headers: {} };
    };
    const body = new Uint8Array(3 * 1024 * 1024 + 1);
    await expect(transport(handler).request({ method: 'POST', path: '/', body })).rejects.toThrow(
      'Request entity too large: limit is 3145728',
    );
  });

  it('ends a stream quietly on abort, even while its source waits, and returns the source', async () => {
    const stop = new AbortController();
    let isReturned = false;
    const iterator: AsyncIterator<string> = {
      next: () => new Promise(() => undefined),
      return: async () => {
        isReturned = true;
        return { done: true, value: undefined };
      },
    };
    const { chunks } = await transport(async () => ({
      status: 200,
      headers: {},
      body: { [Symbol.asyncIterator]: () => iterator },
    })).stream({ method: 'GET', path: '/', signal: stop.signal });
    const reading = (async () => {
      for await (const chunk of chunks) throw new Error(`unexpected ${text(chunk)}`);
    })();
    stop.abort();
    await reading;
    expect(isReturned).toBe(true);
  });
});
