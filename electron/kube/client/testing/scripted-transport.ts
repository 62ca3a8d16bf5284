// A Transport whose server is the test: requests are answered by a function, streams by hand.
// For tests only.
import {
  type Transport,
  TransportError,
  type TransportRequest,
  type TransportResponse,
  type TransportStream,
} from '../transport.ts';

type Answer = { readonly status?: number; readonly body: unknown };

export class ScriptedTransport implements Transport {
  readonly requests: TransportRequest[] = [];
  readonly streams: ScriptedStream[] = [];
  /** Answers plain requests; an Error is thrown as it is. */
  answer: (request: TransportRequest) => Answer | Error = () => ({ status: 404, body: {} });
  /** Refuses streams before they open. */
  refuse: ((request: TransportRequest) => Answer | Error | undefined) | undefined;

  request(request: TransportRequest): Promise<TransportResponse> {
    this.requests.push(request);
    const answer = this.answer(request);
    if (answer instanceof Error) return Promise.reject(answer);
    const body = new TextEncoder().encode(JSON.stringify(answer.body));
    return Promise.resolve({ status: answer.status ?? 200, headers: {}, body });
  }

  stream(request: TransportRequest): Promise<TransportStream> {
    this.requests.push(request);
    const refusal = this.refuse?.(request);
    if (refusal instanceof Error) return Promise.reject(refusal);
    const stream = new ScriptedStream(request);
    if (refusal === undefined) {
      this.streams.push(stream);
      return Promise.resolve({ status: 200, headers: {}, chunks: stream });
    }
    stream.sendText(JSON.stringify(refusal.body));
    stream.end();
    return Promise.resolve({ status: refusal.status ?? 500, headers: {}, chunks: stream });
  }

  /** The newest stream. */
  get watch(): ScriptedStream {
    const stream = this.streams.at(-1);
    if (stream === undefined) throw new Error('no stream was opened');
    return stream;
  }
}

export class ScriptedStream implements AsyncIterable<Uint8Array> {
  readonly request: TransportRequest;
  #chunks: Uint8Array[] = [];
  #end: 'clean' | 'broken' | undefined;
  #wake: (() => void) | undefined;

  constructor(request: TransportRequest) {
    this.request = request;
    request.signal?.addEventListener('abort', () => this.end());
  }

  get isEnded(): boolean {
    return this.#end !== undefined;
  }

  send(type: string, object: unknown): void {
    this.sendText(`${JSON.stringify({ type, object })}\n`);
  }

  sendText(text: string): void {
    this.#chunks.push(new TextEncoder().encode(text));
    this.#wake?.();
  }

  end(): void {
    this.#end ??= 'clean';
    this.#wake?.();
  }

  break(): void {
    this.#end ??= 'broken';
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) yield chunk;
      else if (this.#end === 'clean') return;
      else if (this.#end === 'broken') throw new TransportError('connection reset');
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

/** Lets everything run that waits for nothing but promises. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 200; turn++) await Promise.resolve();
}
