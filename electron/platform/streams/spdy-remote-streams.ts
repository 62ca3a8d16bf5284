// exec and attach over SPDY/3.1, for clients that know no WebSockets: the client opens one stream
// for each thing, named by its `streamtype` header.
// Source: kubernetes kubelet pkg/cri/streaming/remotecommand/httpstream.go.
import type { Duplex } from 'node:stream';
import type { Clock } from '#kube/base/clock.ts';
import {
  statusText,
  TerminalSizes,
  type RemoteStreams,
  type WantedStreams,
} from './remote-streams.ts';
import { SpdyConnection, type SpdyStream } from './spdy-connection.ts';

export const spdyRemoteProtocols: readonly string[] = [
  'v5.channel.k8s.io',
  'v4.channel.k8s.io',
  'v3.channel.k8s.io',
  'v2.channel.k8s.io',
  'channel.k8s.io',
];

const streamsTimeoutMs = 30_000;
/** What a client gets to read the last bytes and hang up. */
const hangUpMs = 10_000;

export interface SpdyRemoteOptions {
  readonly transport: Duplex;
  readonly head: Uint8Array;
  readonly protocol: string;
  readonly wanted: WantedStreams;
  readonly clock: Clock;
}

/** Resolves when the client has opened all its streams; rejects when it doesn't, or goes away. */
export async function spdyRemoteStreams(options: SpdyRemoteOptions): Promise<RemoteStreams> {
  const { transport, head, protocol, clock } = options;
  const expected = expectedTypes(options.wanted, protocol);
  const found = new Map<string, SpdyStream>();
  const complete = Promise.withResolvers<void>();
  const connection = new SpdyConnection({
    transport,
    head,
    streamsMax: expected.size,
    clock,
    onStream(stream) {
      const type = stream.headers['streamtype'] ?? '';
      if (!expected.has(type) || found.has(type)) return void stream.destroy();
      found.set(type, stream);
      if (found.size === expected.size) complete.resolve();
    },
  });
  const gone = new AbortController();
  void connection.closed.then(() => {
    gone.abort();
    complete.reject(new Error('the client went away before it had opened its streams'));
  });
  const timer = clock.timer(streamsTimeoutMs, () => {
    complete.reject(new Error('timed out waiting for client to create streams'));
    connection.destroy();
  });
  await complete.promise.finally(() => timer.cancel());
  return streamsOf(connection, found, { signal: gone.signal, protocol, clock });
}

function expectedTypes(wanted: WantedStreams, protocol: string): ReadonlySet<string> {
  const types = new Set(['error']);
  if (wanted.stdin) types.add('stdin');
  if (wanted.stdout) types.add('stdout');
  if (wanted.stderr && !wanted.tty) types.add('stderr');
  if (wanted.tty && /^v[345]\./.test(protocol)) types.add('resize');
  return types;
}

function streamsOf(
  connection: SpdyConnection,
  found: ReadonlyMap<string, SpdyStream>,
  given: { readonly signal: AbortSignal; readonly protocol: string; readonly clock: Clock },
): RemoteStreams {
  const [stdin, stdout, stderr] = ['stdin', 'stdout', 'stderr'].map((type) => found.get(type));
  const error = found.get('error');
  const streams: RemoteStreams = {
    ...(stdin && { stdin }),
    ...(stdout && { stdout }),
    ...(stderr && { stderr }),
    sizes: new TerminalSizes(),
    signal: given.signal,
    async finish(status) {
      const hasStatus = /^v[45]\./.test(given.protocol);
      stdout?.end();
      stderr?.end();
      error?.end(hasStatus ? JSON.stringify(status) : statusText(status));
      // The client hangs up when it has read all; hanging up here could make it lose the rest.
      stdin?.resume();
      const timer = given.clock.timer(hangUpMs, () => connection.destroy());
      await connection.closed;
      timer.cancel();
    },
  };
  found.get('resize')?.on('data', (bytes: Buffer) => streams.sizes.push(bytes));
  return streams;
}
