import { beforeEach, describe, expect, it } from 'vitest';
import type { Pod } from '../api/core.ts';
import { ManualClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { conflict, StatusError, tooManyRequests } from '../machinery/status.ts';
import { decodeJsonLines } from './json-lines.ts';
import { deployments, namespaces, pods } from './resources.ts';
import { RestClient } from './rest-client.ts';
import { ScriptedTransport, settle } from './testing/scripted-transport.ts';
import { TransportError } from './transport.ts';

const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { namespace: 'shop', name: 'web' },
  spec: { containers: [] },
};
const ref = { namespace: 'shop', name: 'web' };

let clock: ManualClock;
let transport: ScriptedTransport;
let client: RestClient;
let warnings: string[];

beforeEach(() => {
  clock = new ManualClock();
  transport = new ScriptedTransport();
  warnings = [];
  client = new RestClient({
    transport,
    clock,
    random: seededRandom(1),
    userAgent: 'test/1',
    onWarning: (text) => warnings.push(text),
  });
});

describe('a call', () => {
  const cases: { name: string; call: () => Promise<unknown>; want: string }[] = [
    {
      name: 'get',
      call: () => client.get(pods, ref),
      want: 'GET /api/v1/namespaces/shop/pods/web',
    },
    {
      name: 'get of a cluster-scoped object',
      call: () => client.get(namespaces, { name: 'shop' }),
      want: 'GET /api/v1/namespaces/shop',
    },
    {
      name: 'list of all namespaces',
      call: () => client.list(deployments),
      want: 'GET /apis/apps/v1/deployments',
    },
    {
      name: 'create',
      call: () => client.create(pods, pod),
      want: 'POST /api/v1/namespaces/shop/pods',
    },
    {
      name: 'update of the status',
      call: () => client.updateStatus(pods, pod),
      want: 'PUT /api/v1/namespaces/shop/pods/web/status',
    },
    {
      name: 'create of a subresource',
      call: () => client.createSubresource(pods, ref, 'binding', {}),
      want: 'POST /api/v1/namespaces/shop/pods/web/binding',
    },
    {
      name: 'delete of a collection',
      call: () => client.deleteCollection(pods, { namespace: 'shop' }),
      want: 'DELETE /api/v1/namespaces/shop/pods',
    },
  ];
  it.each(cases)('$name goes to its path', async ({ call, want }) => {
    transport.answer = () => ({ body: {} });
    await call();
    const [request] = transport.requests;
    expect(`${request?.method} ${request?.path}`).toBe(want);
    expect(request?.headers?.['user-agent']).toBe('test/1');
  });

  it('refuses an empty name, which would delete the whole collection', async () => {
    await expect(client.delete(pods, { namespace: 'shop', name: '' })).rejects.toThrow(
      'needs a name',
    );
    expect(transport.requests).toHaveLength(0);
  });

  it('takes of a ref only what a path is made of', async () => {
    transport.answer = () => ({ body: pod });
    const node = { ...ref, resource: deployments, group: 'apps', uid: 'u1' };
    await client.get(pods, node);
    expect(transport.requests[0]?.path).toBe('/api/v1/namespaces/shop/pods/web');
  });

  it('sends a patch with the media type of its kind', async () => {
    transport.answer = () => ({ body: pod });
    await client.patch(pods, ref, [{ op: 'remove', path: '/spec' }], { type: 'json' });
    await client.patch(pods, ref, { spec: {} }, { type: 'strategic', subresource: 'status' });
    expect(transport.requests.map((r) => `${r.headers?.['content-type']} ${r.path}`)).toEqual([
      'application/json-patch+json /api/v1/namespaces/shop/pods/web',
      'application/strategic-merge-patch+json /api/v1/namespaces/shop/pods/web/status',
    ]);
  });

  it('throws the Status it got', async () => {
    const stale = conflict(pods, 'web', 'stale');
    transport.answer = () => ({ status: 409, body: stale.status });
    await expect(client.update(pods, pod)).rejects.toMatchObject({ code: 409, reason: 'Conflict' });
  });

  it('makes a Status of a failure that carries none', async () => {
    transport.answer = () => ({ status: 502, body: '<html>' });
    const error: unknown = await client.update(pods, pod).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(StatusError);
    expect(error).toMatchObject({ code: 502, reason: 'InternalError' });
  });

  it('fills in the kind of list items that lack it', async () => {
    transport.answer = () => ({ body: { metadata: {}, items: [{ metadata: { name: 'a' } }] } });
    const { items } = await client.list(pods);
    expect(items[0]).toMatchObject({ apiVersion: 'v1', kind: 'Pod' });
  });
});

describe('trying again', () => {
  it('repeats reads that got no answer three times, with growing pauses', async () => {
    transport.answer = () => new TransportError('refused');
    const result = client.get(pods, ref).catch((error: unknown) => error);
    for (let i = 0; i < 10; i++) {
      await settle();
      clock.advance(1000);
    }
    expect(await result).toBeInstanceOf(TransportError);
    expect(transport.requests).toHaveLength(4);
  });

  it('never repeats a write that got no answer', async () => {
    transport.answer = () => new TransportError('reset');
    await expect(client.create(pods, pod)).rejects.toThrow('reset');
    expect(transport.requests).toHaveLength(1);
  });

  it('takes a 429 without a time for an answer', async () => {
    transport.answer = () => ({ status: 429, body: tooManyRequests('no budget', 0).status });
    await expect(client.get(pods, ref)).rejects.toThrow('no budget');
    expect(transport.requests).toHaveLength(1);
  });

  it('repeats anything turned away with 429 after the time the server names', async () => {
    const answers = [{ status: 429, body: tooManyRequests('busy', 3).status }, { body: pod }];
    transport.answer = () => answers.shift() ?? new Error('asked too often');
    const result = client.create(pods, pod);
    await settle();
    clock.advance(2999);
    await settle();
    expect(transport.requests).toHaveLength(1);
    clock.advance(1);
    expect(await result).toEqual(pod);
  });

  it('stops waiting when the caller gives up', async () => {
    transport.answer = () => ({ status: 429, body: tooManyRequests('busy', 3).status });
    const stop = new AbortController();
    const result = client.get(pods, ref, { signal: stop.signal });
    await settle();
    stop.abort();
    await expect(result).rejects.toThrow('busy');
    expect(transport.requests).toHaveLength(1);
  });
});

describe('JSON lines', () => {
  async function decode(chunks: readonly Uint8Array[]): Promise<unknown[]> {
    async function* stream(): AsyncGenerator<Uint8Array> {
      yield* chunks;
    }
    const documents: unknown[] = [];
    for await (const document of decodeJsonLines(stream())) documents.push(document);
    return documents;
  }
  const bytes = new TextEncoder().encode('{"a":"grüße"}\n\n{"b":2}\n{"c":3}');

  it('come out whole however the bytes are cut', async () => {
    for (let size = 1; size <= bytes.length; size++) {
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.slice(at, at + size));
      expect(await decode(chunks)).toEqual([{ a: 'grüße' }, { b: 2 }, { c: 3 }]);
    }
  });

  it('fail as a broken connection when the last document is cut', async () => {
    await expect(decode([bytes.slice(0, bytes.length - 1)])).rejects.toBeInstanceOf(TransportError);
  });
});
