// Connections that are upgraded: exec, attach, port forwarding, and bytes into a pod for the API
// server's proxies. The API server passes them through as they come, so all the protocols that
// clients speak are spoken here. Bounded: sessions, streams of a session, bytes queued, idle time.
// What a session started ends with it.
// Source: kubernetes kubelet pkg/cri/streaming/server.go.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocketServer, type RawData, type WebSocket } from 'ws';
import type { Pod } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { internalError } from '#kube/machinery/status.ts';
import { joined } from '#platform/streams/join.ts';
import {
  channelPortProtocols,
  portForwardProtocol,
  portsOf,
  serveChannelPorts,
  serveSpdyPorts,
  tunnelProtocol,
  type PortPair,
} from '#platform/streams/port-streams.ts';
import type { RemoteStreams } from '#platform/streams/remote-streams.ts';
import { spdyRemoteProtocols, spdyRemoteStreams } from '#platform/streams/spdy-remote-streams.ts';
import { messageMaxBytes } from '#platform/streams/websocket-channels.ts';
import {
  webSocketRemoteProtocols,
  webSocketRemoteStreams,
  type AcceptedWebSocket,
} from '#platform/streams/websocket-remote-streams.ts';
import { isRuntimeError, type ObservedPod, type Runtime } from '../../runtime/runtime.ts';
import { messageOf } from '../../error-message.ts';
import { podRef } from '../container/sandbox-config.ts';
import type { PodDialer } from './pod-dialer.ts';
import { forwardPort } from './port-forward.ts';
import { runRemoteCommand } from './remote-command.ts';
import { accept, leaveHttp, refuse } from './upgrade.ts';
import {
  chosenProtocol,
  headerList,
  parseStreamRequest,
  readySandbox,
  runningContainerId,
  StreamRequestError,
  type StreamRequest,
} from './stream-request.ts';

export interface StreamsDeps {
  readonly runtime: Pick<Runtime, 'getPod' | 'startProcess' | 'attach'>;
  readonly pods: () => readonly Pod[];
  readonly dialer: PodDialer;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A client sends more than keystrokes: what comes has to be unmasked byte by byte. */
  readonly onMuchInput: () => void;
}

export interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

const sessionsMax = 200;
/** As the kubelet's --streaming-connection-idle-timeout: pings of the client count as life. */
const idleMs = 4 * 3_600_000;
const muchInput = 1024 * 1024;
const protocolHeader = 'x-stream-protocol-version';
const webSocketProtocolHeader = 'sec-websocket-protocol';

type CommandRequest = Extract<StreamRequest, { kind: 'exec' | 'attach' }>;
type PortRequest = Extract<StreamRequest, { kind: 'portForward' }>;

export class Streams {
  readonly #deps: StreamsDeps;
  readonly #open = new Set<Duplex>();
  readonly #running = new Set<Promise<void>>();
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: messageMaxBytes,
    perMessageDeflate: false,
  });
  /** What was agreed on, for the answer's header. */
  readonly #protocols = new WeakMap<IncomingMessage, string>();

  constructor(deps: StreamsDeps) {
    this.#deps = deps;
    this.#webSockets.on('headers', (headers, request) => {
      const protocol = this.#protocols.get(request) ?? '';
      if (protocol !== '') headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
    });
  }

  /** Runs one upgrade to its end. */
  async serve(upgrade: Upgrade): Promise<void> {
    const { socket, request } = upgrade;
    if (this.#open.size >= sessionsMax)
      return refuse(socket, 429, `${sessionsMax} streams are open already`);
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
    socket.on('error', () => socket.destroy());
    request.socket.setTimeout(idleMs, () => socket.destroy());
    try {
      await this.#run(upgrade);
    } catch (error) {
      if (error instanceof StreamRequestError) return refuse(socket, error.code, error.message);
      const path = request.url?.split('?')[0];
      this.#deps.logger.warn('A stream failed', { path, error: messageOf(error) });
      refuse(socket, 500, messageOf(error));
    }
  }

  /** Ends all sessions; resolves when what they started is ended, too. */
  async stop(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    await Promise.allSettled(this.#running);
  }

  async #run(upgrade: Upgrade): Promise<void> {
    const running = this.#dispatch(upgrade);
    this.#running.add(running);
    try {
      await running;
    } finally {
      this.#running.delete(running);
    }
  }

  async #dispatch(upgrade: Upgrade): Promise<void> {
    const url = new URL(upgrade.request.url ?? '/', 'https://node');
    const wanted = parseStreamRequest(url);
    if (wanted === undefined) throw new StreamRequestError(404, '404 page not found');
    switch (wanted.kind) {
      case 'exec':
      case 'attach':
        return this.#command(upgrade, wanted);
      case 'portForward':
        return this.#portForward(upgrade, wanted);
      case 'dial': {
        const sandbox = readySandbox(await this.#observe(wanted));
        const target = await this.#deps.dialer.dialAddress(sandbox, wanted.port);
        accept(upgrade.socket, 'tcp', {});
        return joined(upgrade.socket, target);
      }
    }
  }

  async #observe({ namespace, pod: name }: StreamRequest): Promise<ObservedPod> {
    const { pods, runtime } = this.#deps;
    const pod = pods().find(
      ({ metadata }) => metadata.namespace === namespace && metadata.name === name,
    );
    if (pod === undefined) throw new StreamRequestError(404, 'pod does not exist');
    return runtime.getPod(podRef(pod));
  }

  async #command(upgrade: Upgrade, request: CommandRequest): Promise<void> {
    if (isWebSocket(upgrade)) return this.#commandOverWebSocket(upgrade, request);
    const id = await this.#containerId(request);
    const protocol = this.#acceptSpdy(upgrade, spdyRemoteProtocols);
    const { socket: transport, head } = upgrade;
    const { clock } = this.#deps;
    const options = { transport, head, protocol, wanted: request.wanted, clock };
    await this.#talk(request, id, await spdyRemoteStreams(options));
  }

  /** A browser sees no HTTP error of a refused upgrade: what is wrong is told on the error channel. */
  async #commandOverWebSocket(upgrade: Upgrade, request: CommandRequest): Promise<void> {
    const accepted = await this.#acceptWebSocket(upgrade, webSocketRemoteProtocols);
    const streams = webSocketRemoteStreams(accepted, request.wanted, this.#deps.clock);
    try {
      await this.#talk(request, await this.#containerId(request), streams);
    } catch (error) {
      if (!(error instanceof StreamRequestError)) throw error;
      const why = `unable to upgrade connection: ${error.message}`;
      await streams.finish(internalError(why).status);
    }
  }

  async #containerId(request: CommandRequest): Promise<string> {
    return runningContainerId(await this.#observe(request), request.container);
  }

  #talk(request: CommandRequest, id: string, streams: RemoteStreams): Promise<void> {
    const { runtime } = this.#deps;
    const { command, wanted } = request;
    const options = { command, ...wanted };
    const start = async () => {
      try {
        return await (request.kind === 'exec'
          ? runtime.startProcess(id, options)
          : runtime.attach(id, options));
      } catch (error) {
        if (!isRuntimeError(error, 'notFound')) throw error;
        throw new Error(`container not found ("${request.container}")`, { cause: error });
      }
    };
    return runRemoteCommand({ start, command, streams });
  }

  async #portForward(upgrade: Upgrade, request: PortRequest): Promise<void> {
    const { clock } = this.#deps;
    const observed = await this.#observe(request);
    const network = this.#deps.dialer.open(readySandbox(observed));
    const onPair = (pair: PortPair): void => void forwardPort(pair, network, observed.pod);
    try {
      if (isWebSocket(upgrade)) await this.#webSocketPorts(upgrade, request.query, onPair);
      else {
        this.#acceptSpdy(upgrade, [portForwardProtocol]);
        const { socket: transport, head } = upgrade;
        await serveSpdyPorts({ transport, head, clock, onPair }).closed;
      }
    } finally {
      network.close();
    }
  }

  async #webSocketPorts(
    upgrade: Upgrade,
    query: URLSearchParams,
    onPair: (pair: PortPair) => void,
  ): Promise<void> {
    const offered = headerList(upgrade.request.headers[webSocketProtocolHeader]);
    const { clock } = this.#deps;
    const protocol = chosenProtocol(offered, [tunnelProtocol, ...channelPortProtocols]);
    const ports = portsOf(query);
    if (protocol !== tunnelProtocol && ports === undefined)
      throw new StreamRequestError(400, 'query parameter "port" is required');
    const { socket } = await this.#acceptWebSocket(upgrade, [protocol]);
    if (protocol === tunnelProtocol) {
      const transport = createWebSocketStream(socket, { readableObjectMode: false });
      await serveSpdyPorts({ transport, head: Buffer.alloc(0), clock, onPair }).closed;
      return;
    }
    serveChannelPorts({ socket, protocol, ports: ports ?? [], clock, onPair });
    await new Promise((resolve) => socket.once('close', resolve));
  }

  #acceptSpdy(upgrade: Upgrade, known: readonly string[]): string {
    const { headers } = upgrade.request;
    if ((headers.upgrade ?? '').toLowerCase() !== 'spdy/3.1')
      throw new StreamRequestError(400, `unable to upgrade: unknown protocol "${headers.upgrade}"`);
    const protocol = chosenProtocol(headerList(headers[protocolHeader]), known);
    accept(upgrade.socket, 'SPDY/3.1', protocol === '' ? {} : { [protocolHeader]: protocol });
    return protocol;
  }

  #acceptWebSocket(upgrade: Upgrade, known: readonly string[]): Promise<AcceptedWebSocket> {
    const { request, socket, head } = upgrade;
    const protocol = chosenProtocol(headerList(request.headers[webSocketProtocolHeader]), known);
    // Answered by us: `ws` takes no protocol with a slash in its name, as Kubernetes' tunnel has.
    this.#protocols.set(request, protocol);
    delete request.headers[webSocketProtocolHeader];
    leaveHttp(socket);
    return new Promise((resolve) =>
      this.#webSockets.handleUpgrade(request, socket, head, (accepted) => {
        this.#watchInput(accepted);
        resolve({ socket: accepted, protocol });
      }),
    );
  }

  #watchInput(socket: WebSocket): void {
    let bytes = 0;
    const count = (data: RawData): void => {
      bytes += (data as Buffer).length;
      if (bytes < muchInput) return;
      socket.off('message', count);
      this.#deps.onMuchInput();
    };
    socket.on('message', count);
  }
}

function isWebSocket({ request }: Upgrade): boolean {
  return (request.headers.upgrade ?? '').toLowerCase() === 'websocket';
}
