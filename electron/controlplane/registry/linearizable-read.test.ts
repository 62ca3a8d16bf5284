// Reads and writes see what the store has, however far behind this server's cache is.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../../test/setup/api.ts';
import { openMemoryStore } from '../store/memory-store.ts';
import type { Store, StoreWatch, WatchBatch } from '../store/store.ts';

const configMaps = '/api/v1/namespaces/default/configmaps';
const merge = { 'content-type': 'application/merge-patch+json' };

let api: TestApi;
let open: Promise<void>;
beforeEach(async () => {
  open = Promise.resolve();
  api = await startTestApi({ store: withGate(openMemoryStore()) });
});
afterEach(() => api.stop());

/** Events come only while the gate is open. */
function withGate(store: Store): Store {
  async function* gated(batches: StoreWatch): AsyncGenerator<WatchBatch> {
    for await (const batch of batches) {
      await open;
      yield batch;
    }
  }
  const watch: Store['watch'] = (...given) => {
    const inner = store.watch(...given);
    return Object.assign(gated(inner), {
      close: () => inner.close(),
      requestProgress: () => inner.requestProgress(),
    });
  };
  return new Proxy(store, {
    get(target, name) {
      if (name === 'watch') return watch;
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

async function write(method: 'POST' | 'PUT', data: Record<string, string>): Promise<void> {
  const url = method === 'POST' ? configMaps : `${configMaps}/a`;
  const { status } = await api.request(method, url, { body: { metadata: { name: 'a' }, data } });
  expect(status).toBeLessThan(300);
}

it('what was written before is read and built upon, though the cache has not heard of it', async () => {
  await write('POST', { old: '1' });
  await api.request('GET', `${configMaps}?resourceVersion=0`);
  const gate = Promise.withResolvers<void>();
  open = gate.promise;
  await write('PUT', { fresh: '2' });
  const cached = await api.request('GET', `${configMaps}/a?resourceVersion=0`);
  expect(cached.json.data).toEqual({ old: '1' });
  expect((await api.request('GET', `${configMaps}/a`)).json.data).toEqual({ fresh: '2' });
  const body = { data: { more: '3' } };
  const patched = await api.request('PATCH', `${configMaps}/a`, { headers: merge, body });
  expect(patched.json.data).toEqual({ fresh: '2', more: '3' });
  await api.request('DELETE', `${configMaps}/a`);
  expect((await api.request('GET', `${configMaps}/a`)).status).toBe(404);
  gate.resolve();
});
