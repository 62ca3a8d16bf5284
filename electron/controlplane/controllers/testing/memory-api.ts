// The part of the API that controllers rely on, in memory, as a Transport: writes with optimistic
// locking, finalizers, graceful pod deletion, watches, discovery. For unit tests of controllers,
// which may not import the registry; no validation, no selectors.
import type { KubeObject } from '#kube/api/object.ts';
import { type Clock, rfc3339 } from '#kube/base/clock.ts';
import { type Resource } from '#kube/client/resources.ts';
import type {
  Transport,
  TransportRequest,
  TransportResponse,
  TransportStream,
} from '#kube/client/transport.ts';
import { deepCopy, deepEqual, isObject } from '#kube/machinery/equality.ts';
import { apiVersionOf } from '#kube/machinery/gvk.ts';
import {
  alreadyExists,
  conflict,
  notFound,
  pageNotFound,
  StatusError,
} from '#kube/machinery/status.ts';

export interface StoredObject extends KubeObject {
  spec?: Record<string, unknown>;
  status?: unknown;
}

interface Target {
  readonly resource: Resource;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
}

interface Watcher {
  readonly resource: Resource;
  readonly push: (event: unknown) => void;
}

export class MemoryApi implements Transport {
  /** Every write as `POST pods default/web-x7x2p`. */
  readonly writes: string[] = [];
  /** Turns a request away before anything else happens. */
  intercept: ((request: TransportRequest) => StatusError | undefined) | undefined;
  readonly #clock: Clock;
  readonly #resources: readonly Resource[];
  readonly #objects = new Map<string, StoredObject>();
  readonly #watchers = new Set<Watcher>();
  /** Plural → what its watchers are not told yet. */
  readonly #held = new Map<string, (() => void)[]>();
  #revision = 0;
  #serial = 0;

  constructor(clock: Clock, resources: readonly Resource[]) {
    this.#clock = clock;
    this.#resources = resources;
  }

  list<T extends KubeObject>(resource: Resource<T>): T[] {
    const prefix = `${resource.group}/${resource.resource}/`;
    const keys = [...this.#objects.keys()].filter((key) => key.startsWith(prefix)).toSorted();
    return keys.map((key) => deepCopy(this.#objects.get(key)) as unknown as T);
  }

  /** Throws when it isn't there. */
  get<T extends KubeObject>(resource: Resource<T>, name: string, namespace = 'default'): T {
    const target = {
      resource,
      namespace: resource.namespaced ? namespace : '',
      name,
      subresource: '',
    };
    return deepCopy(this.#find(target)) as unknown as T;
  }

  /** Watches of the resource fall behind until `release`. */
  hold({ resource }: Resource): void {
    this.#held.set(resource, []);
  }

  release({ resource }: Resource): void {
    const held = this.#held.get(resource) ?? [];
    this.#held.delete(resource);
    for (const push of held) push();
  }

  request(request: TransportRequest): Promise<TransportResponse> {
    try {
      const refusal = this.intercept?.(request);
      if (refusal !== undefined) throw refusal;
      return Promise.resolve(answer(200, this.#handle(request)));
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      return Promise.resolve(answer(error.code, error.status));
    }
  }

  stream(request: TransportRequest): Promise<TransportStream> {
    const target = this.#target(request.path);
    const queue: unknown[] = [];
    let wake: (() => void) | undefined;
    const push = (event: unknown): void => {
      queue.push(event);
      wake?.();
    };
    const watcher: Watcher = { resource: target.resource, push };
    if (request.query?.['sendInitialEvents'] === true) {
      for (const object of this.list(target.resource)) push({ type: 'ADDED', object });
      const annotations = { 'k8s.io/initial-events-end': 'true' };
      const metadata = { resourceVersion: String(this.#revision), annotations };
      push({ type: 'BOOKMARK', object: { metadata } });
    }
    this.#watchers.add(watcher);
    request.signal?.addEventListener('abort', () => {
      this.#watchers.delete(watcher);
      wake?.();
    });
    async function* chunks(): AsyncGenerator<Uint8Array> {
      while (request.signal?.aborted !== true)
        if (queue.length > 0) yield encode(queue.shift(), '\n');
        else await new Promise<void>((resolve) => (wake = resolve));
    }
    return Promise.resolve({ status: 200, headers: {}, chunks: chunks() });
  }

  #handle(request: TransportRequest): unknown {
    if (request.path === '/apis' || !/^\/apis?\/.*\/\w/.test(`${request.path}/`))
      return this.#discovery(request.path);
    if (/^\/(api\/v1|apis\/[^/]+\/v1)$/.test(request.path)) return this.#discovery(request.path);
    const target = this.#target(request.path);
    const body = request.body === undefined ? undefined : JSON.parse(String(request.body));
    if (request.method !== 'GET') {
      const where = target.namespace === '' ? target.name : `${target.namespace}/${target.name}`;
      const what = [target.resource.resource, target.subresource].filter((s) => s !== '').join('/');
      this.writes.push(`${request.method} ${what} ${where}`);
    }
    switch (request.method) {
      case 'GET':
        return target.name === '' ? this.#listAnswer(target) : this.#find(target);
      case 'POST':
        return this.#create(target, body as StoredObject);
      case 'PUT':
        return this.#update(target, body as StoredObject);
      case 'PATCH':
        return this.#patch(target, body as Record<string, unknown>);
      case 'DELETE':
        return this.#delete(target, (body ?? {}) as Record<string, unknown>);
      default:
        throw pageNotFound();
    }
  }

  #target(path: string): Target {
    const segments = path.split('/').slice(1).map(decodeURIComponent);
    const group = segments[0] === 'api' ? '' : (segments[1] ?? '');
    const rest = segments.slice(segments[0] === 'api' ? 2 : 3);
    const hasNamespace = rest[0] === 'namespaces' && rest.length > 2 && rest[2] !== 'status';
    const isNamespaced = hasNamespace && rest[2] !== 'finalize';
    const [plural, name = '', subresource = ''] = isNamespaced ? rest.slice(2) : rest;
    const resource = this.#resources.find((r) => r.group === group && r.resource === plural);
    if (resource === undefined) throw pageNotFound();
    return { resource, namespace: isNamespaced ? (rest[1] ?? '') : '', name, subresource };
  }

  #discovery(path: string): unknown {
    const groupVersions = [...new Set(this.#resources.map((resource) => apiVersionOf(resource)))];
    if (path === '/apis') {
      const named = groupVersions.filter((groupVersion) => groupVersion !== 'v1');
      return { groups: named.map((groupVersion) => ({ versions: [{ groupVersion }] })) };
    }
    const groupVersion = path.replace(/^\/apis?\//, '');
    const verbs = [
      'create',
      'delete',
      'deletecollection',
      'get',
      'list',
      'patch',
      'update',
      'watch',
    ];
    const resources = this.#resources
      .filter((resource) => apiVersionOf(resource) === groupVersion)
      .map(({ resource, kind, namespaced }) => ({ name: resource, kind, namespaced, verbs }));
    return { groupVersion, resources };
  }

  #listAnswer({ resource, namespace }: Target): unknown {
    const items = this.list(resource).filter(
      ({ metadata }) => namespace === '' || metadata.namespace === namespace,
    );
    return { metadata: { resourceVersion: String(this.#revision) }, items };
  }

  #find(target: Target): StoredObject {
    const object = this.#objects.get(keyFor(target));
    if (object === undefined) throw notFound(target.resource, target.name);
    return object;
  }

  #create(target: Target, body: StoredObject): StoredObject {
    const { generateName } = body.metadata;
    if (body.metadata.name === '' && generateName !== undefined)
      body.metadata.name = generateName + String(this.#serial++).padStart(5, '0');
    const named = { ...target, name: body.metadata.name };
    if (this.#objects.has(keyFor(named))) throw alreadyExists(target.resource, named.name);
    body.metadata.uid = `uid-${this.#serial++}`;
    body.metadata.creationTimestamp = rfc3339(this.#clock.now());
    body.metadata.generation = 1;
    if (target.resource.namespaced) body.metadata.namespace = target.namespace;
    return this.#commit(named, 'ADDED', body);
  }

  #update(target: Target, body: StoredObject): StoredObject {
    const old = this.#find(target);
    const { resourceVersion, uid } = body.metadata;
    const isStale =
      resourceVersion !== undefined && resourceVersion !== old.metadata.resourceVersion;
    if (isStale || (uid !== undefined && uid !== old.metadata.uid))
      throw conflict(target.resource, target.name, 'stale');
    const next = deepCopy(target.subresource === 'status' ? { ...old, status: body.status } : body);
    if (target.subresource === '') next.status = old.status;
    next.metadata = { ...next.metadata, generation: old.metadata.generation ?? 1 };
    if (!deepEqual(next.spec, old.spec))
      next.metadata.generation = (old.metadata.generation ?? 1) + 1;
    if (deepEqual(next, old)) return old;
    return this.#commitOrRemove(target, next);
  }

  #patch(target: Target, patch: Record<string, unknown>): StoredObject {
    const old = this.#find(target);
    const next = merge(deepCopy(old), patch) as StoredObject;
    const { uid, resourceVersion } = (patch['metadata'] ?? {}) as KubeObject['metadata'];
    next.metadata.uid = uid ?? next.metadata.uid;
    next.metadata.resourceVersion = resourceVersion ?? old.metadata.resourceVersion;
    return this.#update(target, next);
  }

  #delete(target: Target, options: Record<string, unknown>): unknown {
    if (target.name === '') {
      for (const { metadata } of this.list(target.resource))
        if (metadata.namespace === target.namespace)
          this.#delete({ ...target, name: metadata.name }, options);
      return { kind: 'Status' };
    }
    const old = this.#find(target);
    const { uid } = (options['preconditions'] ?? {}) as { uid?: string };
    if (uid !== undefined && uid !== old.metadata.uid)
      throw conflict(target.resource, target.name, 'the UID in the precondition does not match');
    const next = deepCopy(old);
    const policy = options['propagationPolicy'];
    const added =
      policy === 'Foreground' ? ['foregroundDeletion'] : policy === 'Orphan' ? ['orphan'] : [];
    const finalizers = [...new Set([...(next.metadata.finalizers ?? []), ...added])];
    if (finalizers.length > 0) next.metadata.finalizers = finalizers;
    const isBound = target.resource.kind === 'Pod' && (next.spec?.['nodeName'] ?? '') !== '';
    const waits = isBound && options['gracePeriodSeconds'] !== 0;
    if (finalizers.length === 0 && !waits && !hasOwnFinalizers(next))
      return this.#remove(target, old);
    if (old.metadata.deletionTimestamp !== undefined) return old;
    next.metadata.deletionTimestamp = rfc3339(this.#clock.now());
    if (waits) next.metadata.deletionGracePeriodSeconds = 30;
    return this.#commit(target, 'MODIFIED', next);
  }

  /** An object that is being deleted goes when its last finalizer does. */
  #commitOrRemove(target: Target, next: StoredObject): StoredObject {
    const isFree = (next.metadata.finalizers ?? []).length === 0 && !hasOwnFinalizers(next);
    const waits = (next.metadata.deletionGracePeriodSeconds ?? 0) > 0;
    if (next.metadata.deletionTimestamp !== undefined && isFree && !waits)
      return this.#remove(target, next);
    return this.#commit(target, 'MODIFIED', next);
  }

  #remove(target: Target, object: StoredObject): StoredObject {
    this.#objects.delete(keyFor(target));
    return this.#announce(target.resource, 'DELETED', deepCopy(object));
  }

  #commit(target: Target, type: string, object: StoredObject): StoredObject {
    this.#objects.set(keyFor(target), object);
    return this.#announce(target.resource, type, object);
  }

  #announce(resource: Resource, type: string, object: StoredObject): StoredObject {
    object.metadata.resourceVersion = String(++this.#revision);
    object.apiVersion = apiVersionOf(resource);
    object.kind = resource.kind;
    const event = { type, object: deepCopy(object) };
    const push = (): void => {
      for (const watcher of this.#watchers)
        if (watcher.resource.resource === resource.resource) watcher.push(event);
    };
    const held = this.#held.get(resource.resource);
    if (held === undefined) push();
    else held.push(push);
    return object;
  }
}

function hasOwnFinalizers(object: StoredObject): boolean {
  const finalizers = object.kind === 'Namespace' ? object.spec?.['finalizers'] : undefined;
  return Array.isArray(finalizers) && finalizers.length > 0;
}

function keyFor({ resource, namespace, name }: Target): string {
  return `${resource.group}/${resource.resource}/${namespace}/${name}`;
}

function merge(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(target) ? target : {};
  for (const [key, value] of Object.entries(patch))
    if (value === null) delete result[key];
    else result[key] = merge(result[key], value);
  return result;
}

function encode(value: unknown, end = ''): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value) + end);
}

function answer(status: number, value: unknown): TransportResponse {
  return { status, headers: {}, body: encode(value) };
}
