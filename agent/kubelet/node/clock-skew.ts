// Compares this machine's clock with the API server's, by the Date header of answers that come anyway
// (lease renewals). Asks nothing itself.
import type { Clock } from '#kube/base/clock.ts';
import type {
  Transport,
  TransportRequest,
  TransportResponse,
  TransportStream,
} from '#kube/client/transport.ts';
import { median } from './machine-conditions.ts';

const samplesMax = 9;
const samplesMin = 3;
/** An answer that took longer tells too little of when it was made. */
const maxRoundTripMs = 2_000;

export class ClockSkew {
  #samples: readonly number[] = [];

  /** Milliseconds this machine is ahead; undefined until there is enough to tell. */
  skewMs(): number | undefined {
    return this.#samples.length < samplesMin ? undefined : median(this.#samples);
  }

  observe(date: string, sentAtMs: number, receivedAtMs: number): void {
    const dateMs = Date.parse(date);
    const roundTripMs = receivedAtMs - sentAtMs;
    // Negative: our clock was set meanwhile.
    if (!Number.isFinite(dateMs) || roundTripMs < 0 || roundTripMs > maxRoundTripMs) return;
    // The header has whole seconds: on average half a one more had passed.
    const serverMs = dateMs + 500;
    const skewMs = sentAtMs + roundTripMs / 2 - serverMs;
    this.#samples = [...this.#samples, skewMs].slice(-samplesMax);
  }
}

/** Passes all on; of lease renewals it notes the server's time. */
export class DatedTransport implements Transport {
  readonly #inner: Transport;
  readonly #skew: ClockSkew;
  readonly #clock: Clock;

  constructor(inner: Transport, skew: ClockSkew, clock: Clock) {
    this.#inner = inner;
    this.#skew = skew;
    this.#clock = clock;
  }

  async request(request: TransportRequest): Promise<TransportResponse> {
    const isRenewal = request.method === 'PUT' && request.path.includes('/leases/');
    const sentAtMs = this.#clock.now();
    const response = await this.#inner.request(request);
    const { date } = response.headers;
    if (isRenewal && date !== undefined) this.#skew.observe(date, sentAtMs, this.#clock.now());
    return response;
  }

  stream(request: TransportRequest): Promise<TransportStream> {
    return this.#inner.stream(request);
  }
}
