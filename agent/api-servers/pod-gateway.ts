// How pods of this machine reach the API while every control plane listens for its own machine only, so that the Service
// `kubernetes` has no endpoints: a port at the pods' gateway, behind which connections go on to the API server that the
// agent itself speaks with. Nobody but this machine and its pods may use it, and it knows no credentials: TLS and token
// are the pod's own. Where control planes listen for others, pods reach these, as everywhere, and the port is closed.
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Logger } from '#kube/base/logger.ts';
import { messageOf } from '../error-message.ts';
import { joinSockets } from '../proxy/tcp-forwarder.ts';
import type { LocalServer } from '../dns/local-slices.ts';
import { gatewayOf } from '../runtime/pod-network.ts';
import type { SliceSource } from './known-servers.ts';
import { serversOf } from './server-list.ts';

export interface PodGatewayDeps {
  readonly slices: SliceSource;
  /** For the proxy: leads the Service's ClusterIP to this port. */
  readonly publish: (server: LocalServer | undefined) => void;
  /** The pods' range on this machine; rejects while nobody knows. */
  readonly podCidr: () => Promise<string>;
  readonly hasClusterIps: () => boolean;
  /** Of the cluster, that answers now, as `https://host:port`. */
  readonly server: () => string | undefined;
  readonly mayCall: (address: string, podCidr: string) => boolean;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** For tests; 0: any. */
  readonly port?: number;
}

/** Always the same where it is free, as packet rules outlive the agent. */
const usualPort = 10_443;
const maxConnections = 1024;

export class PodGateway {
  readonly #deps: PodGatewayDeps;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port: number | undefined;
  #podCidr = '';
  #isSynced = false;
  #looking: Promise<void> | undefined;
  #isDirty = false;

  constructor(deps: PodGatewayDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { slices, signal } = this.#deps;
    const onChange = (): void => void this.look();
    const detach = slices.addHandler({ onAdd: onChange, onUpdate: onChange, onDelete: onChange });
    void slices.whenSynced().then(() => {
      this.#isSynced = true;
      onChange();
    });
    const stop = (): void => {
      detach();
      this.#close();
      for (const socket of this.#sockets) socket.destroy();
    };
    signal.addEventListener('abort', stop, { once: true });
  }

  /** Undefined: it is closed. */
  get port(): number | undefined {
    return this.#port;
  }

  /** The pods' network, the proxy, or the Service's endpoints may be others now. */
  async look(): Promise<void> {
    this.#isDirty = true;
    this.#looking ??= this.#lookAll().finally(() => {
      this.#looking = undefined;
    });
    await this.#looking;
  }

  async #lookAll(): Promise<void> {
    while (this.#isDirty && !this.#deps.signal.aborted) {
      this.#isDirty = false;
      await this.#lookOnce();
    }
  }

  async #lookOnce(): Promise<void> {
    const { slices, podCidr, hasClusterIps, logger } = this.#deps;
    if (!this.#isSynced) return;
    if (!hasClusterIps() || serversOf(slices.lister.list()).length > 0) return this.#close();
    try {
      const cidr = await podCidr();
      if (this.#server !== undefined && cidr === this.#podCidr) return;
      this.#close();
      await this.#listen(cidr);
    } catch (error) {
      // No engine or no network yet: looked at again when there is one.
      logger.debug("Pods can't reach the API", { error: messageOf(error) });
    }
  }

  async #listen(cidr: string): Promise<void> {
    const { publish, logger, signal, port: wanted = usualPort } = this.#deps;
    const address = gatewayOf(cidr);
    const server = await listenAt(address, wanted).catch(() => listenAt(address, 0));
    if (signal.aborted) return void server.close();
    server.maxConnections = maxConnections;
    server.on('connection', (socket) => this.#accept(socket));
    this.#server = server;
    this.#podCidr = cidr;
    const { port } = server.address() as { readonly port: number };
    this.#port = port;
    logger.info('Pods reach the API', { address, port });
    publish({
      namespace: 'default',
      name: 'kubernetes',
      address,
      ports: [{ name: 'https', protocol: 'TCP', port }],
    });
  }

  /** What goes on over it may end in its own time. */
  #close(): void {
    if (this.#server === undefined) return;
    this.#server.close();
    this.#server = undefined;
    this.#port = undefined;
    this.#deps.publish(undefined);
  }

  #accept(client: Socket): void {
    this.#track(client);
    const server = this.#deps.server();
    if (server === undefined || !this.#deps.mayCall(client.remoteAddress ?? '', this.#podCidr))
      return void client.resetAndDestroy();
    const { hostname: host, port } = new URL(server);
    const upstream = connect({ host, port: Number(port), allowHalfOpen: true, noDelay: true });
    this.#track(upstream);
    upstream.once('error', () => client.resetAndDestroy());
    client.once('close', () => upstream.destroy());
    upstream.once('connect', () => joinSockets(client, upstream));
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => void this.#sockets.delete(socket));
  }
}

function listenAt(address: string, port: number): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, () => {
      server.off('error', reject);
      // Out of file descriptors, say: the client sees it.
      server.on('error', () => undefined);
      resolve(server);
    });
  });
}
