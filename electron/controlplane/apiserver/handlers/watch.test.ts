import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Chunk } from '../http.ts';
import { startTestApi, type StreamedAnswer, type TestApi } from '../../../../test/setup/api.ts';

let api: TestApi;
let open: StreamedAnswer[];
beforeEach(async () => {
  api = await startTestApi();
  open = [];
});
afterEach(async () => {
  for (const stream of open) await stream.close();
  await api.stop();
});

const configMaps = '/api/v1/namespaces/default/configmaps';

async function watch(url: string, headers = {}): Promise<StreamedAnswer> {
  const stream = await api.watch(url, headers);
  open.push(stream);
  return stream;
}

function put(name: string, labels: Record<string, string> = {}) {
  const body = { metadata: { name, labels } };
  return api.request('POST', configMaps, { body });
}

function relabel(name: string, labels: Record<string, string>) {
  return api.request('PUT', `${configMaps}/${name}`, { body: { metadata: { name, labels } } });
}

async function take(stream: StreamedAnswer, count: number): Promise<string[]> {
  const seen: string[] = [];
  for (let n = 0; n < count; n++) {
    const event = await stream.next();
    seen.push(
      `${event.type} ${event.object.metadata.name} ${event.object.metadata.resourceVersion}`,
    );
  }
  return seen;
}

describe('watch', () => {
  it('says the same as an object as in bytes, but for managedFields', async () => {
    await put('a');
    const { body } = await api.raw('GET', `${configMaps}?watch=true&resourceVersion=1`);
    const chunks = (body as AsyncIterable<Chunk>)[Symbol.asyncIterator]();
    await put('b');
    await relabel('a', { x: 'y' });
    await api.request('DELETE', `${configMaps}/b`);
    const versions: unknown[] = [];
    for (let n = 0; n < 3; n++) {
      const { value } = await chunks.next();
      if (typeof value !== 'object' || !('document' in value)) throw new Error('no document');
      const { type, object } = JSON.parse(new TextDecoder().decode(value.bytes));
      delete object.metadata.managedFields;
      expect(value.document).toEqual({ type, object });
      versions.push(object.metadata.resourceVersion);
    }
    await chunks.return?.();
    expect(versions).toEqual(['2', '3', '4']);
  });
  it('from a resourceVersion gives every later event once, in order, deletes at their revision', async () => {
    await put('a');
    const stream = await watch(`${configMaps}?watch=true&resourceVersion=1`);
    await put('b');
    await relabel('a', { x: 'y' });
    await api.request('DELETE', `${configMaps}/b`);
    expect(await take(stream, 3)).toEqual(['ADDED b 2', 'MODIFIED a 3', 'DELETED b 4']);
  });
  it('resumes from the window with events that happened before it began', async () => {
    await put('a');
    await put('b');
    await api.request('GET', configMaps);
    const stream = await watch(`${configMaps}?watch=true&resourceVersion=1`);
    expect(await take(stream, 1)).toEqual(['ADDED b 2']);
  });
  it('without resourceVersion begins with the present state', async () => {
    await put('a');
    await api.request('GET', configMaps);
    const stream = await watch(`${configMaps}?watch=true`);
    await put('b');
    expect(await take(stream, 2)).toEqual(['ADDED a 1', 'ADDED b 2']);
  });
  it('shows only its namespace', async () => {
    const stream = await watch('/api/v1/namespaces/other/configmaps?watch=1');
    await put('a');
    const body = { metadata: { name: 'b' } };
    await api.request('POST', '/api/v1/namespaces/other/configmaps', { body });
    expect(await take(stream, 1)).toEqual(['ADDED b 2']);
  });
  it('turns a change of match into ADDED and DELETED', async () => {
    await put('a');
    const stream = await watch(`${configMaps}?watch=true&resourceVersion=1&labelSelector=on%3Dyes`);
    await relabel('a', { on: 'yes' });
    await relabel('a', { on: 'yes', more: '1' });
    await relabel('a', { on: 'no' });
    await relabel('a', { on: 'maybe' });
    await relabel('a', { on: 'yes' });
    expect(await take(stream, 4)).toEqual([
      'ADDED a 2',
      'MODIFIED a 3',
      'DELETED a 4',
      'ADDED a 6',
    ]);
  });
  it('of one name by field selector sees that object only', async () => {
    const stream = await watch(
      `${configMaps}?watch=true&resourceVersion=0&fieldSelector=metadata.name%3Dab`,
    );
    await put('abc');
    await put('ab');
    expect(await take(stream, 1)).toEqual(['ADDED ab 2']);
  });
  it('ends after timeoutSeconds', async () => {
    const stream = await watch(`${configMaps}?watch=true&timeoutSeconds=5`);
    const next = stream.next();
    api.clock.advance(5000);
    expect(await next).toBeUndefined();
  });
  it('ends when its reader returns while it waits', async () => {
    const stream = await watch(`${configMaps}?watch=true`);
    const next = stream.next();
    await stream.close();
    expect(await next).toBeUndefined();
    expect(api.registry.watcherCount()).toBe(0);
  });
  it('gives an ERROR 410 event to one that asks for history that is gone', async () => {
    await put('a');
    const other = await startTestApi({ store: api.store });
    const stream = await other.watch(`${configMaps}?watch=true&resourceVersion=0`);
    expect((await stream.next()).type).toBe('ADDED');
    await put('b');
    const late = await startTestApi({ store: api.store });
    const old = await late.watch(`${configMaps}?watch=true&resourceVersion=1`);
    expect(await old.next()).toMatchObject({
      type: 'ERROR',
      object: {
        kind: 'Status',
        code: 410,
        reason: 'Expired',
        message: 'too old resource version: 1 (2)',
      },
    });
    expect(await old.next()).toBeUndefined();
  });
  it('gives an ERROR 504 event to one from the future', async () => {
    const pending = watch(`${configMaps}?watch=true&resourceVersion=99`);
    await Promise.resolve();
    api.clock.advance(3000);
    expect(await (await pending).next()).toMatchObject({
      type: 'ERROR',
      object: {
        code: 504,
        reason: 'Timeout',
        message: 'Timeout: Too large resource version: 99, current: 0',
        details: { causes: [{ reason: 'ResourceVersionTooLarge' }], retryAfterSeconds: 1 },
      },
    });
  });
});

describe('bookmarks', () => {
  it('come about each minute, at the store’s revision even when nothing of the kind changed', async () => {
    const stream = await watch(`${configMaps}?watch=true&allowWatchBookmarks=true`);
    const body = { metadata: { name: 's' } };
    await api.request('POST', '/api/v1/namespaces/default/secrets', { body });
    const next = stream.next();
    api.clock.advance(75_000);
    expect(await next).toEqual({
      type: 'BOOKMARK',
      object: { kind: 'ConfigMap', apiVersion: 'v1', metadata: { resourceVersion: '1' } },
    });
  });
  it('come once more just before the end', async () => {
    const stream = await watch(
      `${configMaps}?watch=true&allowWatchBookmarks=true&timeoutSeconds=10`,
    );
    const next = stream.next();
    api.clock.advance(8000);
    expect((await next).type).toBe('BOOKMARK');
    const end = stream.next();
    api.clock.advance(2000);
    expect(await end).toBeUndefined();
  });
  it('do not come uninvited', async () => {
    const stream = await watch(`${configMaps}?watch=true&timeoutSeconds=100`);
    const next = stream.next();
    api.clock.advance(100_000);
    expect(await next).toBeUndefined();
  });
});

describe('watch-list', () => {
  const initial = 'watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan';
  it('sends the present state, then a bookmark that says so, then what follows', async () => {
    await put('a');
    await put('b');
    const stream = await watch(`${configMaps}?${initial}&allowWatchBookmarks=true`);
    expect(await take(stream, 2)).toEqual(['ADDED a 1', 'ADDED b 2']);
    expect(await stream.next()).toEqual({
      type: 'BOOKMARK',
      object: {
        kind: 'ConfigMap',
        apiVersion: 'v1',
        metadata: { resourceVersion: '2', annotations: { 'k8s.io/initial-events-end': 'true' } },
      },
    });
    await put('c');
    expect(await take(stream, 1)).toEqual(['ADDED c 3']);
  });
  const refused = [
    {
      url: '?watch=true&sendInitialEvents=true',
      message:
        'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
    },
    {
      url: '?watch=true&resourceVersionMatch=NotOlderThan',
      message:
        'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
    },
    {
      url: '?sendInitialEvents=true',
      message:
        'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list',
    },
  ];
  it.each(refused)('refuses $url', async ({ url, message }) => {
    const { status, json } = await api.request('GET', `${configMaps}${url}`);
    expect([status, json.reason, json.message]).toEqual([422, 'Invalid', message]);
  });
});

describe('watch as Table', () => {
  it('names the columns in the first event only', async () => {
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
    const stream = await watch(`${configMaps}?watch=true`, { accept });
    await put('a');
    await put('b');
    const first = await stream.next();
    const second = await stream.next();
    expect(first.object.columnDefinitions[0].name).toBe('Name');
    expect(second.object.columnDefinitions).toEqual([]);
    expect(second).toMatchObject({
      type: 'ADDED',
      object: {
        kind: 'Table',
        metadata: { resourceVersion: '2' },
        rows: [{ object: { kind: 'PartialObjectMetadata', metadata: { name: 'b' } } }],
      },
    });
  });
});
