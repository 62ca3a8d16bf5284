// exec and attach over a WebSocket: which protocols there are and which channel is what.
// Source: kubernetes apimachinery pkg/util/remotecommand/constants.go, kubelet
// pkg/cri/streaming/remotecommand/websocket.go.
import type { WebSocket } from 'ws';
import type { Clock } from '#kube/base/clock.ts';
import {
  statusText,
  TerminalSizes,
  type RemoteStreams,
  type WantedStreams,
} from './remote-streams.ts';
import { WebSocketChannels, type ChannelForm } from './websocket-channels.ts';

const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;

interface Protocol extends ChannelForm {
  /** The outcome is a Status; before v4 it was a text. */
  readonly hasStatus: boolean;
}

const binary = { isBase64: false, hasCloseSignal: false };
const base64 = { isBase64: true, hasCloseSignal: false };
const protocols: Readonly<Record<string, Protocol>> = {
  'v5.channel.k8s.io': { isBase64: false, hasCloseSignal: true, hasStatus: true },
  'v4.channel.k8s.io': { ...binary, hasStatus: true },
  'v4.base64.channel.k8s.io': { ...base64, hasStatus: true },
  'base64.channel.k8s.io': { ...base64, hasStatus: false },
  'channel.k8s.io': { ...binary, hasStatus: false },
  /** A client that names none. */
  '': { ...binary, hasStatus: false },
};

export const webSocketRemoteProtocols: readonly string[] = Object.keys(protocols).filter(
  (name) => name !== '',
);

/** A socket, and what was agreed on in the handshake. */
export interface AcceptedWebSocket {
  readonly socket: WebSocket;
  /** One of those above, or ''. */
  readonly protocol: string;
}

export function webSocketRemoteStreams(
  { socket, protocol }: AcceptedWebSocket,
  wanted: WantedStreams,
  clock: Clock,
): RemoteStreams {
  const form = protocols[protocol] ?? { ...binary, hasStatus: false };
  const channels = new WebSocketChannels(socket, form, clock);
  const streams: { -readonly [key in keyof RemoteStreams]: RemoteStreams[key] } = {
    sizes: new TerminalSizes(),
    signal: channels.signal,
    async finish(status) {
      const text = form.hasStatus ? JSON.stringify(status) : statusText(status);
      if (text !== '') await channels.send(channel.error, Buffer.from(text));
      await channels.close();
    },
  };
  const hasStderr = wanted.stderr && !wanted.tty;
  if (wanted.stdin) streams.stdin = channels.source(channel.stdin);
  if (wanted.stdout) streams.stdout = channels.sink(channel.stdout);
  if (hasStderr) streams.stderr = channels.sink(channel.stderr);
  if (wanted.tty)
    channels.source(channel.resize).on('data', (bytes: Buffer) => streams.sizes.push(bytes));
  // As Kubernetes: tells clients that the connection is there.
  const first = wanted.stdout ? channel.stdout : hasStderr ? channel.stderr : channel.error;
  void channels.send(first, new Uint8Array());
  return streams;
}
