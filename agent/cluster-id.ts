// Which cluster this machine belongs to: the uid of its namespace kube-system. Kept in a file, so that an agent whose
// API server is away knows at once which containers are its own. What is kept may be wrong (the machine was added to
// another cluster): until the API server has confirmed it, nothing else is asked of it, and so nothing is ended.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { namespaces } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import {
  TransportError,
  type Transport,
  type TransportRequest,
  type TransportResponse,
  type TransportStream,
} from '#kube/client/transport.ts';
import { StatusError } from '#kube/machinery/status.ts';
import { writeFileAtomic } from '#platform/atomic-file.ts';
import { messageOf } from './error-message.ts';

/** So long may one try take that nobody waits for. */
const answerMs = 30_000;
const retryMs = { first: 100, max: 5000 };

export interface ClusterIdDeps {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly logger: Logger;
  /** It was another cluster's that was kept: what began with it must end. The right one is kept now. */
  readonly onOther: () => void;
}

export interface ClusterId {
  /** '' when `signal` aborted before it was known. */
  readonly uid: string;
  /** By the API server; never while it is away, or when it says another. */
  readonly confirmed: Promise<void>;
}

type Client = Pick<RestClient, 'get'>;

/** Waits for the API server only where nothing is kept. Throws when this machine may not ask, and never could. */
export async function readClusterId(
  client: Client,
  data: string,
  deps: ClusterIdDeps,
): Promise<ClusterId> {
  const file = path.join(data, 'cluster-id');
  const known = (await readFile(file, 'utf8').catch(() => '')).trim();
  if (known !== '') return { uid: known, confirmed: confirm(client, file, known, deps) };
  const uid = await ask(client, deps, (error) => error.code === 403);
  if (uid !== '') await keep(file, uid, deps.logger);
  return { uid, confirmed: Promise.resolve() };
}

async function confirm(
  client: Client,
  file: string,
  known: string,
  deps: ClusterIdDeps,
): Promise<void> {
  let uid: string;
  try {
    uid = await ask(client, deps, ({ code }) => code === 401 || code === 403);
  } catch {
    // Not for this machine to know: everything else it asks is judged by itself.
    return;
  }
  if (uid === known) return;
  if (uid !== '') {
    deps.logger.warn('This machine belongs to another cluster now', { uid, before: known });
    await keep(file, uid, deps.logger);
    deps.onOther();
  }
  await new Promise(() => {});
}

/** Until it is answered. '' when the signal aborts; throws a refusal that `isFinal`. */
async function ask(
  client: Client,
  { clock, signal }: ClusterIdDeps,
  isFinal: (error: StatusError) => boolean,
): Promise<string> {
  for (let waitMs = retryMs.first; !signal.aborted; waitMs = Math.min(waitMs * 2, retryMs.max)) {
    const late = new AbortController();
    const timer = clock.timer(answerMs, () => late.abort());
    const options = { signal: AbortSignal.any([signal, late.signal]) };
    try {
      const { metadata } = await client.get(namespaces, { name: 'kube-system' }, options);
      return metadata.uid ?? '';
    } catch (error) {
      if (error instanceof StatusError && isFinal(error)) throw error;
    } finally {
      timer.cancel();
    }
    await delay(clock, waitMs, signal);
  }
  return '';
}

/** A full disk keeps nobody from running; what it costs is a start without an API server. */
async function keep(file: string, uid: string, logger: Logger): Promise<void> {
  await writeFileAtomic(file, `${uid}\n`).catch((error: unknown) => {
    logger.warn("The cluster's identity is not kept", { file, error: messageOf(error) });
  });
}

/** Passes nothing on before it may. What was given up meanwhile is forgotten: that may be weeks. */
export class HeldTransport implements Transport {
  readonly #inner: Transport;
  /** Undefined: all may pass. */
  #waiting: Set<() => void> | undefined = new Set();

  constructor(inner: Transport, mayPass: Promise<void>) {
    this.#inner = inner;
    void mayPass.then(() => {
      for (const pass of this.#waiting ?? []) pass();
      this.#waiting = undefined;
    });
  }

  async request(request: TransportRequest): Promise<TransportResponse> {
    await this.#passed(request.signal);
    return this.#inner.request(request);
  }

  async stream(request: TransportRequest): Promise<TransportStream> {
    await this.#passed(request.signal);
    return this.#inner.stream(request);
  }

  async #passed(signal: AbortSignal | undefined): Promise<void> {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abort = (): void => reject(new TransportError('the request was aborted'));
    if (signal?.aborted === true) abort();
    signal?.addEventListener('abort', abort);
    waiting.add(resolve);
    try {
      await promise;
    } finally {
      waiting.delete(resolve);
      signal?.removeEventListener('abort', abort);
    }
  }
}
