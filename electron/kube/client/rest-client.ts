// Typed verbs of the Kubernetes API over any Transport. Failure answers become StatusError; reads
// that got no answer, and anything turned away for a while (429 with a time), are tried again within
// bounds.
// Knows nothing of caches: see informer.ts. Source: client-go rest/{client,request,with_retry}.go.
import { type Clock, delay, systemClock } from '../base/clock.ts';
import { jitter, type Random, systemRandom } from '../base/random.ts';
import type { DeleteOptions, Status } from '../api/meta.ts';
import type { KubeList, KubeObject, WatchEvent } from '../api/object.ts';
import { apiVersionOf } from '../machinery/gvk.ts';
import { StatusError } from '../machinery/status.ts';
import { decodeJsonLines } from './json-lines.ts';
import { type ObjectRef, pathOfResource, type Resource } from './resources.ts';
import { errorOfResponse } from './response-error.ts';
import {
  type Transport,
  TransportError,
  type TransportRequest,
  type TransportResponse,
  type TransportStream,
} from './transport.ts';

export interface RestClientDeps {
  readonly transport: Transport;
  readonly userAgent?: string;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Texts of `Warning:` headers. */
  readonly onWarning?: (text: string) => void;
}

export interface RequestOptions {
  readonly signal?: AbortSignal;
}

export interface GetOptions extends RequestOptions {
  readonly resourceVersion?: string;
}

export interface ListOptions extends RequestOptions {
  /** All namespaces when left out. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly resourceVersion?: string;
  readonly resourceVersionMatch?: 'Exact' | 'NotOlderThan';
  readonly limit?: number;
  readonly continue?: string;
  readonly timeoutSeconds?: number;
}

export interface WatchOptions extends Omit<ListOptions, 'limit' | 'continue'> {
  readonly allowWatchBookmarks?: boolean;
  readonly sendInitialEvents?: boolean;
}

export interface WriteOptions extends RequestOptions {
  readonly dryRun?: boolean;
  readonly fieldValidation?: 'Ignore' | 'Warn' | 'Strict';
  readonly fieldManager?: string;
}

export type PatchType = 'json' | 'merge' | 'strategic';

export interface PatchOptions extends WriteOptions {
  /** `merge` when left out. */
  readonly type?: PatchType;
  readonly subresource?: string;
}

export interface DeleteCallOptions extends RequestOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: 'Foreground' | 'Background' | 'Orphan';
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly dryRun?: boolean;
}

const patchMediaTypes: Readonly<Record<PatchType, string>> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
};

const transportRetriesMax = 3;
const throttleRetriesMax = 10;
const retryBaseMs = 100;

export class RestClient {
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #userAgent: string | undefined;
  readonly #onWarning: ((text: string) => void) | undefined;

  constructor(deps: RestClientDeps) {
    this.#transport = deps.transport;
    this.#clock = deps.clock ?? systemClock;
    this.#random = deps.random ?? systemRandom;
    this.#userAgent = deps.userAgent;
    this.#onWarning = deps.onWarning;
  }

  async get<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    options: GetOptions = {},
  ): Promise<T> {
    const { signal, ...query } = options;
    return this.json<T>({ method: 'GET', path: pathOfResource(resource, ref), query, signal });
  }

  async list<T extends KubeObject>(
    resource: Resource<T>,
    options: ListOptions = {},
  ): Promise<KubeList<T>> {
    const { signal, namespace, ...query } = options;
    const path = pathOfResource(resource, { namespace });
    const list = await this.json<KubeList<T>>({ method: 'GET', path, query, signal });
    // Typed lists of a Kubernetes server leave the items' own kind out; ours may not.
    const apiVersion = apiVersionOf(resource);
    for (const item of (list.items ??= [])) {
      item.apiVersion ??= apiVersion;
      item.kind ??= resource.kind;
    }
    return list;
  }

  /** Creates in the object's own namespace. */
  async create<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: WriteOptions = {},
  ): Promise<T> {
    const path = pathOfResource(resource, { namespace: object.metadata.namespace });
    return this.#write<T>('POST', path, object, options);
  }

  async update<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: WriteOptions = {},
  ): Promise<T> {
    return this.#write<T>('PUT', pathOfResource(resource, refOf(object)), object, options);
  }

  async updateStatus<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: WriteOptions = {},
  ): Promise<T> {
    const path = pathOfResource(resource, { ...refOf(object), subresource: 'status' });
    return this.#write<T>('PUT', path, object, options);
  }

  /** `patch` is a JSON Patch array for type 'json', else a partial object. */
  async patch<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    patch: unknown,
    options: PatchOptions = {},
  ): Promise<T> {
    const { type = 'merge', subresource, ...rest } = options;
    const path = pathOfResource(resource, { ...ref, subresource });
    return this.#write<T>('PATCH', path, patch, rest, patchMediaTypes[type]);
  }

  /** Answers the object while it waits for finalizers or its grace period, else a Status. */
  async delete<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    options: DeleteCallOptions = {},
  ): Promise<T | Status> {
    return this.json<T | Status>({
      method: 'DELETE',
      path: pathOfResource(resource, ref),
      ...deleteBody(options),
    });
  }

  async deleteCollection<T extends KubeObject>(
    resource: Resource<T>,
    selection: Pick<ListOptions, 'namespace' | 'labelSelector' | 'fieldSelector'>,
    options: DeleteCallOptions = {},
  ): Promise<void> {
    const { namespace, ...query } = selection;
    const path = pathOfResource(resource, { namespace });
    await this.json<unknown>({ method: 'DELETE', path, query, ...deleteBody(options) });
  }

  /** POST to a subresource: `createSubresource(pods, ref, 'binding', binding)`. */
  async createSubresource<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    subresource: string,
    body: unknown,
    options: WriteOptions = {},
  ): Promise<unknown> {
    return this.#write('POST', pathOfResource(resource, { ...ref, subresource }), body, options);
  }

  async getSubresource<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    subresource: string,
    options: RequestOptions = {},
  ): Promise<unknown> {
    const path = pathOfResource(resource, { ...ref, subresource });
    return this.json({ method: 'GET', path, signal: options.signal });
  }

  async updateSubresource<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    subresource: string,
    body: unknown,
    options: WriteOptions = {},
  ): Promise<unknown> {
    return this.#write('PUT', pathOfResource(resource, { ...ref, subresource }), body, options);
  }

  /**
   * Resolves once the server accepted the watch. Ends when the server ends it or `signal` aborts;
   * throws TransportError when the connection breaks. ERROR events are yielded, not thrown.
   */
  async watch<T extends KubeObject>(
    resource: Resource<T>,
    options: WatchOptions = {},
  ): Promise<AsyncIterable<WatchEvent<T>>> {
    const { signal, namespace, ...query } = options;
    const stream = await this.stream({
      method: 'GET',
      path: pathOfResource(resource, { namespace }),
      query: { ...query, watch: true },
      signal,
    });
    return decodeJsonLines(stream.messages ?? stream.chunks) as AsyncIterable<WatchEvent<T>>;
  }

  /** A followed log, stats, any streaming GET. Throws StatusError unless the answer is 2xx. */
  async stream(request: TransportRequest): Promise<TransportStream> {
    const stream = await this.#transport.stream(this.#withHeaders(request));
    if (stream.status < 300) return stream;
    const body = await collect(stream.chunks);
    throw errorOfResponse({ status: stream.status, headers: stream.headers, body });
  }

  /** Any request whose answer is a JSON document. */
  async json<R>(request: TransportRequest): Promise<R> {
    const response = await this.raw(request);
    return parseBody(response) as R;
  }

  /** Sends with retries; throws StatusError for any answer that is not 2xx. */
  async raw(request: TransportRequest): Promise<TransportResponse> {
    const complete = this.#withHeaders(request);
    for (let attempt = 0; ; attempt++) {
      const outcome = await this.#attempt(complete);
      if (!(outcome instanceof Error)) return outcome;
      const waitMs = this.#retryDelayMs(complete, outcome, attempt);
      if (waitMs === undefined) throw outcome;
      await delay(this.#clock, waitMs, complete.signal);
      if (complete.signal?.aborted === true) throw outcome;
    }
  }

  async #attempt(
    request: TransportRequest,
  ): Promise<TransportResponse | StatusError | TransportError> {
    try {
      const response = await this.#transport.request(request);
      const warning = response.headers['warning'];
      if (warning !== undefined) this.#warn(warning);
      return response.status < 300 ? response : errorOfResponse(response);
    } catch (error) {
      if (error instanceof TransportError) return error;
      throw error;
    }
  }

  /** Undefined: don't try again. */
  #retryDelayMs(
    request: TransportRequest,
    error: StatusError | TransportError,
    attempt: number,
  ): number | undefined {
    if (request.signal?.aborted === true) return undefined;
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    if (error instanceof TransportError) {
      if (!isRead || attempt >= transportRetriesMax) return undefined;
      return jitter(this.#random, retryBaseMs * 2 ** attempt, 1);
    }
    const retryAfterSeconds = error.status.details?.retryAfterSeconds;
    // Without a time it is an answer: a disruption budget refuses.
    const isThrottled = error.code === 429 && (retryAfterSeconds ?? 0) > 0;
    const isRetriable = isThrottled || (isRead && error.code === 503);
    if (!isRetriable || attempt >= throttleRetriesMax) return undefined;
    if (error.code === 503 && attempt >= transportRetriesMax) return undefined;
    return Math.max(1, retryAfterSeconds ?? 1) * 1000;
  }

  #write<T>(
    method: 'POST' | 'PUT' | 'PATCH',
    path: string,
    body: unknown,
    options: WriteOptions,
    contentType = 'application/json',
  ): Promise<T> {
    return this.json<T>({
      method,
      path,
      query: {
        dryRun: options.dryRun === true ? 'All' : undefined,
        fieldValidation: options.fieldValidation,
        fieldManager: options.fieldManager,
      },
      headers: { 'content-type': contentType },
      body: JSON.stringify(body),
      signal: options.signal,
    });
  }

  #withHeaders(request: TransportRequest): TransportRequest {
    const headers: Record<string, string> = { accept: 'application/json', ...request.headers };
    if (this.#userAgent !== undefined) headers['user-agent'] ??= this.#userAgent;
    return { ...request, headers };
  }

  /** `299 - "text"`, several joined by commas. */
  #warn(header: string): void {
    for (const match of header.matchAll(/299 \S+ "((?:[^"\\]|\\.)*)"/g))
      this.#onWarning?.((match[1] ?? '').replaceAll(/\\(.)/g, '$1'));
  }
}

function refOf(object: KubeObject): ObjectRef {
  const { namespace, name } = object.metadata;
  return { namespace, name };
}

function deleteBody(options: DeleteCallOptions): Partial<TransportRequest> {
  const { signal, dryRun, ...rest } = options;
  const body: DeleteOptions = { kind: 'DeleteOptions', apiVersion: 'v1', ...rest };
  if (dryRun === true) body.dryRun = ['All'];
  return {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal,
  };
}

function parseBody(response: TransportResponse): unknown {
  const text = new TextDecoder().decode(response.body);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TransportError(`the answer is not JSON: ${text.slice(0, 80)}`, { cause: error });
  }
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    parts.push(chunk);
    length += chunk.length;
  }
  const body = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    body.set(part, offset);
    offset += part.length;
  }
  return body;
}
