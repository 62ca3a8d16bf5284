// The words in which the store's tests say what they expect: rows, events and batches as text.
import type { KeyValue, StoreWatch, WatchBatch } from '../../electron/controlplane/store/store.ts';

export function bytes(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

export function text(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : new TextDecoder().decode(value);
}

/** `key=value@create/mod`, for readable expectations. */
export function show(kv: KeyValue | undefined): string | undefined {
  if (kv === undefined) return undefined;
  return `${kv.key}=${text(kv.value)}@${kv.createRevision}/${kv.modRevision}`;
}

/** One line for each event: `put a=1@1/1 was nothing`. */
export function showBatch(batch: WatchBatch): string[] {
  return batch.events.map(
    ({ type, kv, previous }) => `${type} ${show(kv)} was ${show(previous) ?? 'nothing'}`,
  );
}

export function showResult(result: {
  ok: boolean;
  revision: number;
  kv: KeyValue | undefined;
}): string {
  return `${result.ok ? 'ok' : 'refused'} ${result.revision} ${show(result.kv)}`;
}

/** The next batch that has events, flattened with those that follow, up to `count` events. */
export async function take(
  iterator: AsyncIterator<WatchBatch>,
  count: number,
): Promise<WatchBatch> {
  const events: WatchBatch['events'][number][] = [];
  let revision = 0;
  while (events.length < count) {
    const next = await iterator.next();
    if (next.done === true) throw new Error(`the watch ended after ${events.length} events`);
    events.push(...next.value.events);
    revision = next.value.revision;
  }
  return { revision, events };
}

export function iterate(watch: StoreWatch): AsyncIterator<WatchBatch> {
  return watch[Symbol.asyncIterator]();
}
export function modRevision(event: { readonly kv: KeyValue }): number {
  return event.kv.modRevision;
}
