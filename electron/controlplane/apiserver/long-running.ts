// Requests that may stay open for hours: which they are, how long the others get, and a stream
// whose end can be heard.
// Source: kubernetes apiserver pkg/server/config.go (LongRunningFunc), pkg/endpoints/filters/
// request_deadline.go.
import { badRequest } from '#kube/machinery/status.ts';
import type { ApiRequest, RequestInfo } from './http.ts';
import { isTrue } from './request-info.ts';

const streamingSubresources: ReadonlySet<string> = new Set([
  'attach',
  'exec',
  'portforward',
  'proxy',
]);

export function isLongRunning(request: ApiRequest, info: RequestInfo): boolean {
  if (!info.isResourceRequest) return false;
  if (info.verb === 'watch' || streamingSubresources.has(info.subresource)) return true;
  return info.subresource === 'log' && isTrue(request.query.get('follow'));
}

const maximumMs = 60_000;

/** `timeout` of the query (a Go duration such as `32s`), at most 60 s; 60 s when there is none. */
export function requestDeadlineMs(text: string | null): number {
  if (text === null || text === '') return maximumMs;
  const ms = goDurationMs(text);
  if (ms === undefined || ms < 0)
    throw badRequest(
      `invalid timeout specified in the request URL - time: invalid duration ${JSON.stringify(text)}`,
    );
  return ms === 0 ? maximumMs : Math.min(ms, maximumMs);
}

const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Nobody is known yet when this is parsed: it must cost nothing. Go has no bound. */
const maxDurationLength = 100;

/** `1h15m30.918s` → milliseconds. Undefined when it is none. */
function goDurationMs(text: string): number | undefined {
  if (text === '0') return 0;
  if (text.length > maxDurationLength) return undefined;
  const sign = text.startsWith('-') ? -1 : 1;
  const body = text.replace(/^[-+]/, '');
  const term = /(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)/y;
  let total = 0;
  let end = 0;
  for (let match = term.exec(body); match !== null; match = term.exec(body)) {
    total += Number(match[1]) * (unitMs[match[2] ?? ''] ?? 0);
    end = term.lastIndex;
  }
  return end === body.length && end > 0 ? sign * total : undefined;
}

/**
 * The same stream, with `callback` called once when it is over: ended, failed, returned or given
 * up by the client (`signal`), even if nobody ever read from it. However many ask for that, each message
 * passes here once.
 */
export function onEnd<T>(
  source: AsyncIterable<T>,
  signal: AbortSignal,
  callback: () => void,
): AsyncIterable<T> {
  const stream = source instanceof EndingStream ? source : new EndingStream(source, signal);
  stream.add(callback);
  return stream as EndingStream<T>;
}

class EndingStream<T> implements AsyncIterable<T> {
  readonly #source: AsyncIterable<T>;
  readonly #signal: AbortSignal;
  #callbacks: (() => void)[] = [];
  #isOver = false;

  constructor(source: AsyncIterable<T>, signal: AbortSignal) {
    this.#source = source;
    this.#signal = signal;
    signal.addEventListener('abort', this.#finish);
    if (signal.aborted) this.#finish();
  }

  add(callback: () => void): void {
    if (this.#isOver) callback();
    else this.#callbacks.push(callback);
  }

  readonly #finish = (): void => {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#signal.removeEventListener('abort', this.#finish);
    for (const callback of this.#callbacks.splice(0)) callback();
  };

  [Symbol.asyncIterator](): AsyncIterator<T> {
    const inner = this.#source[Symbol.asyncIterator]();
    const finish = this.#finish;
    return {
      async next() {
        try {
          const result = await inner.next();
          if (result.done === true) finish();
          return result;
        } catch (error) {
          finish();
          throw error;
        }
      },
      async return(value?: unknown) {
        finish();
        return (await inner.return?.(value)) ?? { done: true, value: undefined };
      },
    };
  }
}
