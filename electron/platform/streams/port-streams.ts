// Port forwarding as its two protocols see it: a client opens pairs of streams, one for the data of
// a connection and one for what went wrong with it. Over SPDY (raw, or inside a WebSocket) a pair
// is told by a request id; over plain WebSocket channels the ports are in the query.
// Source: kubernetes kubelet pkg/cri/streaming/portforward/{httpstream,websocket}.go.
import { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { Clock } from '#kube/base/clock.ts';
import { SpdyConnection, type SpdyStream } from './spdy-connection.ts';
import { WebSocketChannels } from './websocket-channels.ts';

export const portForwardProtocol = 'portforward.k8s.io';
/** The same frames as messages of a WebSocket. */
export const tunnelProtocol = `SPDY/3.1+${portForwardProtocol}`;
export const channelPortProtocols: readonly string[] = [
  'v4.channel.k8s.io',
  'v4.base64.channel.k8s.io',
];

/** One connection that the client wants into the pod. */
export interface PortPair {
  readonly port: number;
  /** Both ways; each side may end its half. */
  readonly data: Duplex;
  /** Tells the client what is wrong, as text, and ends the pair. */
  fail(message: string): void;
  /** Nothing went wrong: the client is told that nothing more comes. */
  done(): void;
}

export interface SpdyPortOptions {
  readonly transport: Duplex;
  readonly head: Uint8Array;
  readonly clock: Clock;
  readonly onPair: (pair: PortPair) => void;
}

/** Each connection needs two streams: half of what a SPDY connection may have. */
export function serveSpdyPorts(options: SpdyPortOptions): SpdyConnection {
  /** By request id: streams whose other half has not come yet. */
  const waiting = new Map<string, SpdyStream>();
  const { transport, head, clock, onPair } = options;
  return new SpdyConnection({
    transport,
    head,
    clock,
    onStream(stream) {
      const { streamtype: type = '', port: portText = '', requestid: id = '' } = stream.headers;
      const port = portOf(portText);
      const isKnown = (type === 'data' || type === 'error') && id !== '';
      if (port === undefined || !isKnown) return void stream.destroy();
      const other = waiting.get(id);
      if (other === undefined) {
        waiting.set(id, stream);
        stream.once('close', () => waiting.get(id) === stream && waiting.delete(id));
        return;
      }
      if (other.headers['streamtype'] === type) return void stream.destroy();
      waiting.delete(id);
      const [data, error] = type === 'data' ? [stream, other] : [other, stream];
      onPair(pairOf(port, data, error));
    },
  });
}

function pairOf(port: number, data: SpdyStream, error: SpdyStream): PortPair {
  // Clients close their half of the error stream at once; it has to be read to be over.
  error.resume();
  return {
    port,
    data,
    fail(message) {
      error.end(message);
      data.destroy();
    },
    done: () => void error.end(),
  };
}

/** 1 to 65535, or undefined. */
export function portOf(text: string): number | undefined {
  const port = Number(text);
  return /^\d{1,5}$/.test(text) && port >= 1 && port <= 65_535 ? port : undefined;
}

const portsMax = 120;

/** Ports of the query: repeated, or a list with commas. Undefined when one is none. */
export function portsOf(query: URLSearchParams): readonly number[] | undefined {
  const texts = query.getAll('ports').flatMap((list) => list.split(','));
  const ports = texts.map(portOf).filter((port) => port !== undefined);
  const isGood = texts.length > 0 && texts.length <= portsMax && ports.length === texts.length;
  return isGood ? ports : undefined;
}

export interface ChannelPortOptions {
  readonly socket: WebSocket;
  readonly protocol: string;
  readonly ports: readonly number[];
  readonly clock: Clock;
  readonly onPair: (pair: PortPair) => void;
}

/** Channels 2n and 2n+1 are the nth port's data and error; each begins with its port, two bytes. */
export function serveChannelPorts(options: ChannelPortOptions): void {
  const { socket, protocol, ports, clock, onPair } = options;
  const isBase64 = protocol.includes('base64');
  const channels = new WebSocketChannels(socket, { isBase64, hasCloseSignal: false }, clock);
  let open = ports.length;
  const leave = (): void => {
    open--;
    if (open === 0) void channels.close();
  };
  for (const [index, port] of ports.entries()) {
    const [dataChannel, errorChannel] = [2 * index, 2 * index + 1];
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(port);
    void channels.send(dataChannel, bytes);
    void channels.send(errorChannel, bytes);
    const data = Duplex.from({
      readable: channels.source(dataChannel),
      writable: channels.sink(dataChannel),
    });
    data.on('error', () => undefined);
    onPair({
      port,
      data,
      fail: (message) =>
        void channels.send(errorChannel, Buffer.from(message)).then(() => {
          data.destroy();
          leave();
        }),
      done: leave,
    });
  }
}
