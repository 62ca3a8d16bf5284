// GET of a collection with watch=true: a stream of JSON lines, one event per chunk. Errors that
// the server finds after it has understood the request are ERROR events, not HTTP errors: a client
// on a WebSocket can't see those.
// Source: kubernetes apiserver pkg/endpoints/handlers/watch.go, pkg/storage/cacher (newErrWatcher).
import type { ObjectMeta, Status } from '#kube/api/meta.ts';
import type { KubeObject, WatchEvent } from '#kube/api/object.ts';
import { deepFreeze } from '#kube/machinery/equality.ts';
import { StatusError } from '#kube/machinery/status.ts';
import type { WatchItem } from '../../registry/cache-watch.ts';
import { apiVersionOfResource } from '../../registry/resource-table.ts';
import type { ApiResponse, Chunk, StreamMessage } from '../http.ts';
import type { OutputForm } from '../representation/negotiation.ts';
import { makeTable, partialMetadata } from '../representation/table.ts';
import { parseWatchQuery, type WatchParameters } from './options.ts';
import { outputForm, tableOptions } from './respond.ts';
import { warningHeaders, type RequestScope } from './scope.ts';
import type { ObjectItem, WatchFrames } from './watch-frames.ts';

/** A watch without timeoutSeconds ends after this long, up to twice as long. */
const minTimeoutMs = 1_800_000;

export async function handleWatch(scope: RequestScope): Promise<ApiResponse> {
  const { info, request, deps, definition } = scope;
  const form = outputForm(scope);
  const namespace = definition.namespaced ? info.namespace : '';
  const parameters = parseWatchQuery(request.query, { namespace, name: info.name });
  const timeoutMs = parameters.timeoutMs ?? minTimeoutMs * (1 + deps.random.next());
  const items = await openWatch(scope, parameters, timeoutMs);
  const frame = frameMaker(scope, form);
  return {
    status: 200,
    headers: {
      'content-type': form.encoding === 'yaml' ? 'application/yaml' : 'application/json',
      'cache-control': 'no-cache, private',
      ...warningHeaders(scope),
    },
    body: framed(items, frame),
  };
}

async function openWatch(
  { resource, request }: RequestScope,
  parameters: WatchParameters,
  timeoutMs: number,
): Promise<AsyncIterator<WatchItem, undefined>> {
  try {
    return await resource.watch({ ...parameters, timeoutMs, signal: request.signal });
  } catch (error) {
    const isStreamed = error instanceof StatusError && (error.code === 410 || error.code === 504);
    if (!isStreamed) throw error;
    return once({ type: 'ERROR', status: error.status });
  }
}

function once(item: WatchItem): AsyncIterator<WatchItem, undefined> {
  let rest: WatchItem[] = [item];
  return {
    next() {
      const value = rest.pop();
      return Promise.resolve(
        value === undefined ? { done: true, value: undefined } : { done: false, value },
      );
    },
    return() {
      rest = [];
      return Promise.resolve({ done: true, value: undefined });
    },
  };
}

/** Not a generator: `return()` of one would wait for an event that may never come. */
function framed(
  items: AsyncIterator<WatchItem, undefined>,
  frame: (item: WatchItem) => Chunk,
): AsyncIterableIterator<Chunk> {
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      const result = await items.next();
      if (result.done === true) return { done: true, value: undefined };
      return { done: false, value: frame(result.value) };
    },
    async return() {
      await items.return?.();
      return { done: true, value: undefined };
    },
  };
}

const encoder = new TextEncoder();

function frameMaker(scope: RequestScope, form: OutputForm): (item: WatchItem) => Chunk {
  if (form.shape === 'object') return (item) => objectFrame(scope, item);
  if (form.shape === 'PartialObjectMetadata') return (item) => partialFrame(item);
  let hasColumns = true;
  return (item) => {
    const frame = tableFrame(scope, item, hasColumns);
    if (item.type !== 'ERROR') hasColumns = false;
    return frame;
  };
}

function objectFrame(scope: RequestScope, item: WatchItem): Chunk {
  if (item.type === 'ERROR') return jsonFrame('ERROR', item.status);
  if (item.type === 'BOOKMARK') {
    const apiVersion = apiVersionOfResource(scope.definition);
    const { kind } = scope.definition;
    return jsonFrame('BOOKMARK', { kind, apiVersion, metadata: bookmarkMetadata(item) });
  }
  return new ObjectMessage(item, scope.frames);
}

/** Sockets share bytes; followers in this process share the object. */
class ObjectMessage implements StreamMessage {
  readonly #item: ObjectItem;
  readonly #frames: WatchFrames;

  constructor(item: ObjectItem, frames: WatchFrames) {
    this.#item = item;
    this.#frames = frames;
  }

  get bytes(): Uint8Array {
    return this.#frames.of(this.#item);
  }

  get document(): WatchEvent<KubeObject> {
    const { type, stored, revision } = this.#item;
    const { shared } = stored;
    if (revision === stored.revision) return { type, object: shared };
    const metadata = { ...shared.metadata, resourceVersion: String(revision) };
    return { type, object: deepFreeze({ ...shared, metadata }) };
  }
}

function partialFrame(item: WatchItem): Uint8Array {
  if (item.type === 'ERROR') return jsonFrame('ERROR', item.status);
  return jsonFrame(item.type, partialMetadata({ metadata: metadataOf(item) }));
}

/** A bookmark is a table of one row too: its object carries the resourceVersion. */
function tableFrame(scope: RequestScope, item: WatchItem, hasColumns: boolean): Uint8Array {
  if (item.type === 'ERROR') return jsonFrame('ERROR', item.status);
  const options = { ...tableOptions(scope), hasColumns };
  const metadata = metadataOf(item);
  const listMeta = { resourceVersion: metadata.resourceVersion ?? '' };
  if (item.type !== 'BOOKMARK')
    return jsonFrame(
      item.type,
      makeTable([withMetadata(item.stored.object, metadata)], listMeta, options),
    );
  const table = makeTable([], listMeta, options);
  table.rows.push({
    cells: scope.definition.columns.map(() => ''),
    object: partialMetadata({ metadata }),
  });
  return jsonFrame('BOOKMARK', table);
}

function withMetadata(object: KubeObject, metadata: EventMetadata): KubeObject {
  return { ...object, metadata: { ...object.metadata, ...metadata } };
}

/** A bookmark has no name. */
type EventMetadata = Partial<ObjectMeta>;

function metadataOf(item: Exclude<WatchItem, { readonly type: 'ERROR' }>): EventMetadata {
  if (item.type === 'BOOKMARK') return bookmarkMetadata(item);
  return { ...item.stored.object.metadata, resourceVersion: String(item.revision) };
}

function bookmarkMetadata(item: Extract<WatchItem, { type: 'BOOKMARK' }>): EventMetadata {
  const resourceVersion = String(item.revision);
  if (!item.isInitialEventsEnd) return { resourceVersion };
  return { resourceVersion, annotations: { 'k8s.io/initial-events-end': 'true' } };
}

function jsonFrame(type: WatchItem['type'], object: Status | object): Uint8Array {
  return encoder.encode(`${JSON.stringify({ type, object })}\n`);
}
