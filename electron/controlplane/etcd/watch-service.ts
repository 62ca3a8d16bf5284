// etcd's Watch service: many watches in one call. Each reads its own watch of the Kv; one that falls
// behind the Kv's bound is opened again where it stopped, so a slow client slows nobody and still
// misses nothing, unless what it has not read is compacted meanwhile.
// Differs: `compact_revision` is the first revision that can still be watched. etcd names the
// compacted one, whose own deletes it may have lost.
// Source: etcd server/etcdserver/api/v3rpc/watch.go.
import { unreachable } from '#kube/base/assert.ts';
import type { Timer } from '#kube/base/clock.ts';
import type { KeyRange, KvEvent, KvWatch, KvWatchBatch } from '../store/commands.ts';
import { CompactedError, WatchOverflowError } from '../store/store.ts';
import { GrpcError } from './grpc.ts';
import type { ServerCall, StreamHandler, StreamMethod } from './grpc-server.ts';
import { keyRange, keyValueOf } from './operations.ts';
import * as wire from './protocol.ts';
import type { ServiceDeps } from './server.ts';
import { asRefusal } from './status.ts';

/** One answer holds about this much, in whole revisions. */
const answerBytesMax = 1024 * 1024;
/** A watch that asked for it hears this often that nothing happened. */
const notifyEveryMs = 10 * 60 * 1000;
/** For answers about no watch. */
const noWatch = -1;

export function watchMethod(service: ServiceDeps): StreamMethod {
  return { kind: 'stream', open: (call) => new WatchCall(service, call) };
}

class WatchCall implements StreamHandler {
  readonly #service: ServiceDeps;
  readonly #call: ServerCall;
  readonly #watchers = new Map<number, Watcher>();
  #nextId = 0;
  /** The revision that a client wants to hear of when every watch has passed it. */
  #wantedProgress: number | undefined;

  constructor(service: ServiceDeps, call: ServerCall) {
    this.#service = service;
    this.#call = call;
  }

  message(bytes: Buffer): void {
    const request = wire.watchRequest.decode(bytes);
    if (request.create_request !== undefined) this.#create(request.create_request);
    else if (request.cancel_request !== undefined) this.#cancel(request.cancel_request.watch_id);
    else if (request.progress_request !== undefined) this.#askProgress();
  }

  end(): void {
    this.close();
    this.#call.finish();
  }

  close(): void {
    for (const watcher of this.#watchers.values()) watcher.stop();
    this.#watchers.clear();
  }

  #create(request: wire.WatchCreateRequest): void {
    const { kv } = this.#service;
    const key = request.key === '' ? '\0' : request.key;
    const range = keyRange(key, request.range_end);
    const why = this.#whyNot(range, request.watch_id);
    if (why !== undefined) {
      void this.#send({ watch_id: noWatch, created: true, canceled: true, cancel_reason: why });
      return;
    }
    const watchId = request.watch_id === 0 ? this.#freeId() : request.watch_id;
    const after = request.start_revision > 0 ? request.start_revision - 1 : kv.currentRevision();
    void this.#send({ watch_id: watchId, created: true });
    const watcher = new Watcher(
      { range, request, watchId, after },
      {
        service: this.#service,
        send: (answer) => this.#send(answer),
        moved: () => this.#tellProgress(),
        ended: (error) => this.#ended(watchId, error),
      },
    );
    this.#watchers.set(watchId, watcher);
    watcher.start();
  }

  #whyNot({ key, end }: KeyRange, watchId: number): string | undefined {
    if (end !== undefined && end !== '\0' && end <= key) return 'mvcc: watcher range is empty';
    return watchId !== 0 && this.#watchers.has(watchId)
      ? 'mvcc: duplicate watch ID provided on the WatchStream'
      : undefined;
  }

  #freeId(): number {
    while (this.#watchers.has(this.#nextId)) this.#nextId++;
    return this.#nextId++;
  }

  #cancel(watchId: number): void {
    const watcher = this.#watchers.get(watchId);
    if (watcher === undefined) return;
    watcher.stop();
    this.#watchers.delete(watchId);
    void this.#send({ watch_id: watchId, canceled: true });
    this.#tellProgress();
  }

  #ended(watchId: number, error: unknown): void {
    if (!this.#watchers.delete(watchId)) return;
    if (!(error instanceof CompactedError)) return this.#call.finish(asRefusal(error));
    const compact_revision = error.compactedRevision + 1;
    const refused = asRefusal(error);
    const cancel_reason = refused instanceof GrpcError ? refused.message : '';
    void this.#send({ watch_id: watchId, canceled: true, compact_revision, cancel_reason });
    this.#tellProgress();
  }

  #askProgress(): void {
    this.#wantedProgress = this.#service.kv.currentRevision();
    for (const watcher of this.#watchers.values()) watcher.requestProgress();
    this.#tellProgress();
  }

  #tellProgress(): void {
    const wanted = this.#wantedProgress;
    if (wanted === undefined) return;
    for (const watcher of this.#watchers.values()) if (watcher.delivered < wanted) return;
    this.#wantedProgress = undefined;
    void this.#send({ header: this.#service.header(wanted), watch_id: noWatch });
  }

  /** Never rejects. */
  #send(answer: Partial<wire.WatchResponse>): Promise<void> {
    const message = wire.watchResponse.make({ header: this.#service.header(), ...answer });
    return this.#call.send(wire.watchResponse.encodeFrame(message));
  }
}

interface WatcherOptions {
  readonly range: KeyRange;
  readonly request: wire.WatchCreateRequest;
  readonly watchId: number;
  readonly after: number;
}

interface WatcherCallbacks {
  readonly service: ServiceDeps;
  send(answer: Partial<wire.WatchResponse>): Promise<void>;
  /** `delivered` has grown. */
  moved(): void;
  ended(error: unknown): void;
}

class Watcher {
  readonly #options: WatcherOptions;
  readonly #callbacks: WatcherCallbacks;
  /** Everything up to here was sent. */
  delivered: number;
  #watch: KvWatch | undefined;
  #isStopped = false;
  #isQuiet = true;
  #isNotifyDue = false;
  #timer: Timer | undefined;

  constructor(options: WatcherOptions, callbacks: WatcherCallbacks) {
    this.#options = options;
    this.#callbacks = callbacks;
    this.delivered = options.after;
  }

  start(): void {
    if (this.#options.request.progress_notify) this.#scheduleNotify();
    this.#run().catch((error: unknown) => {
      if (!this.#isStopped) this.#callbacks.ended(error);
      this.stop();
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#watch?.close();
  }

  requestProgress(): void {
    this.#watch?.requestProgress();
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      try {
        this.#watch = this.#callbacks.service.kv.watch(this.#options.range, this.delivered);
        for await (const batch of this.#watch) await this.#deliver(batch);
        return;
      } catch (error) {
        if (!(error instanceof WatchOverflowError)) throw error;
      }
    }
  }

  async #deliver(batch: KvWatchBatch): Promise<void> {
    const events = batch.events.filter((event) => this.#isWanted(event));
    for (const answer of answersOf(events, this.#options.request)) {
      if (this.#isStopped) return;
      this.#isQuiet = false;
      await this.#send(answer);
    }
    if (this.#isStopped) return;
    this.delivered = batch.revision;
    if (this.#isNotifyDue && events.length === 0) await this.#send({ revision: batch.revision });
    this.#isNotifyDue = false;
    this.#callbacks.moved();
  }

  #send({ revision, ...answer }: Answer): Promise<void> {
    const header = this.#callbacks.service.header(revision);
    return this.#callbacks.send({ header, watch_id: this.#options.watchId, ...answer });
  }

  #isWanted({ type }: KvEvent): boolean {
    return !this.#options.request.filters.includes(wire.eventTypes[type]);
  }

  #scheduleNotify(): void {
    this.#timer = this.#callbacks.service.clock.timer(notifyEveryMs, () => {
      this.#isNotifyDue = this.#isQuiet;
      if (this.#isQuiet) this.#watch?.requestProgress();
      this.#isQuiet = true;
      this.#scheduleNotify();
    });
  }
}

type Answer = Partial<wire.WatchResponse> & { readonly revision: number };

/**
 * Events as answers of whole revisions; a revision is cut only for a client that can join the
 * fragments. The header says up to where the answer tells everything.
 */
function* answersOf(
  events: readonly KvEvent[],
  request: wire.WatchCreateRequest,
): Generator<Answer> {
  let part: wire.Event[] = [];
  let bytes = 0;
  for (const [i, event] of events.entries()) {
    const revision = event.row.modRevision;
    part.push(eventOf(event, request.prev_kv));
    bytes += sizeOf(event);
    const next = events[i + 1];
    const isWhole = next?.row.modRevision !== revision;
    const isFull = bytes >= answerBytesMax && (isWhole || request.fragment);
    if (next !== undefined && !isFull) continue;
    yield { revision, events: part, fragment: !isWhole };
    part = [];
    bytes = 0;
  }
}

function sizeOf({ row, previous }: KvEvent): number {
  return row.key.length + row.value.byteLength + (previous?.value.byteLength ?? 0) + 64;
}

function eventOf({ type, row, previous }: KvEvent, wantsPrevious: boolean): wire.Event {
  const prev_kv = wantsPrevious && previous !== undefined ? keyValueOf(previous) : undefined;
  switch (type) {
    case 'put':
      return { type: wire.eventTypes.put, kv: keyValueOf(row), prev_kv };
    case 'delete': {
      const kv = wire.keyValue.make({ key: row.key, mod_revision: row.modRevision });
      return { type: wire.eventTypes.delete, kv, prev_kv };
    }
    default:
      return unreachable(type);
  }
}
