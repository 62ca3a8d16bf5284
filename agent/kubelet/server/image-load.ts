// POST /images/load: an archive of images as the body; the answer tells line by line how far it is,
// and in the end what was loaded. An error that is known before the first line is a Status.
// Differs: Kubernetes' kubelet has no such path.
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { Clock } from '#kube/base/clock.ts';
import { LoadError, type ImageLoader, type LoadedImage } from '../images/image-loader.ts';
import type { KubeletRequest, KubeletResponse } from './routes.ts';

export type LoadLine =
  | { readonly status: 'loading'; readonly doneBytes: number; readonly totalBytes: number }
  | { readonly status: 'loaded'; readonly images: readonly LoadedImage[] }
  | { readonly status: 'failed'; readonly message: string };

const lineIntervalMs = 1_000;
const reasons = {
  400: 'BadRequest',
  409: 'Conflict',
  413: 'RequestEntityTooLarge',
  500: 'InternalError',
} as const;

export async function loadImages(
  loader: ImageLoader,
  clock: Clock,
  { body, signal, sizeBytes }: Pick<KubeletRequest, 'body' | 'signal' | 'sizeBytes'>,
): Promise<KubeletResponse> {
  const lines = new Lines();
  let toldMs = -Infinity;
  const done = loader.load({
    // What is left of it is read here.
    chunks: body.iterator({ destroyOnReturn: false }),
    sizeBytes,
    signal,
    onProgress(doneBytes, totalBytes) {
      const nowMs = clock.monotonicMs();
      if (nowMs - toldMs < lineIntervalMs) return;
      toldMs = nowMs;
      lines.push({ status: 'loading', doneBytes, totalBytes });
    },
  });
  const last = done.then(
    (images): LoadLine => ({ status: 'loaded', images }),
    (error: unknown) => error as LoadError,
  );
  const first = await Promise.race([last, lines.hasSome]);
  if (first instanceof LoadError) {
    await readToEnd(body);
    return failure(first);
  }
  return { status: 200, contentType: 'application/jsonl', body: lines.until(last) };
}

/** At most one line is kept: the newest. */
class Lines {
  #newest: LoadLine | undefined;
  readonly #some = Promise.withResolvers<void>();
  #wake: () => void = () => {};

  get hasSome(): Promise<void> {
    return this.#some.promise;
  }

  push(line: LoadLine): void {
    this.#newest = line;
    this.#some.resolve();
    this.#wake();
  }

  async *until(last: Promise<LoadLine | LoadError>): AsyncGenerator<Uint8Array> {
    let end: LoadLine | undefined;
    void last.then((line) => {
      end = line instanceof LoadError ? { status: 'failed', message: line.message } : line;
      this.#wake();
    });
    for (;;) {
      const line = this.#newest;
      this.#newest = undefined;
      if (line !== undefined) yield encode(line);
      if (end !== undefined) break;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        if (this.#newest !== undefined || end !== undefined) resolve();
      });
    }
    yield encode(end);
  }
}

function encode(line: LoadLine): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(line)}\n`);
}

function failure({ code, message }: LoadError): KubeletResponse {
  const reason = reasons[code];
  const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure' };
  const text = `${JSON.stringify({ ...status, message, reason, code })}\n`;
  return { status: code, contentType: 'application/json', body: text };
}

/** An answer while the client still sends may never be read. */
async function readToEnd(body: Readable): Promise<void> {
  // A client that goes away waits for no answer.
  await finished(body.resume(), { writable: false }).catch(() => undefined);
}
