// PeerTransport over TLS: a listener for what peers send, a link to each peer for what is sent.
// Connections carry messages one way only: each side writes to those it made. A peer that is not in
// the membership (the leader that adds us is new to us) is let in all the same, if it has the
// cluster's id and a member's key; one that left the membership is refused, and told.
import type { SecureContext, TLSSocket } from 'node:tls';
import { assert } from '#kube/base/assert.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { memberIdOf, publicKeyDer } from '#platform/certificate.ts';
import { nobody } from '../raft/membership.ts';
import type { MemberId, Membership, Message } from '../raft/types.ts';
import type { Announcement, DiskClaim } from './announcements.ts';
import { MessageEncoder } from './peer-codec.ts';
import { clientContext, type PeerCredentials } from './peer-dial.ts';
import type { Hello } from './peer-handshake.ts';
import { PeerLink, standardLimits, type LinkLimits, type PeerStatus } from './peer-link.ts';
import { PeerListener } from './peer-listener.ts';
import { streamSnapshot } from './snapshot-stream.ts';
import type { PeerHandlers, PeerTransport, SnapshotSource } from './types.ts';

/** Leaves most of a gigabit line, and some of an SD card, to others. */
const snapshotBytesPerSecond = 32 * 1024 * 1024;
/** Links to peers that only their hello told us of. */
const strangersMax = 8;

export interface TlsPeerTransportDeps {
  readonly id: MemberId;
  readonly clusterId: string;
  readonly credentials: PeerCredentials;
  readonly listen: { readonly host: string; readonly port: number };
  /** Where others reach this member now, best first; `port` is the one listened on. */
  addresses(port: number): readonly string[];
  /** What this machine says of itself: see Hello. */
  readonly isAlwaysOn: boolean;
  readonly disk?: DiskClaim;
  readonly entryVersion?: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly limits?: LinkLimits;
  readonly snapshotBytesPerSecond?: number;
}

export class TlsPeerTransport implements PeerTransport {
  private readonly deps: TlsPeerTransportDeps;
  private readonly listener: PeerListener;
  private readonly links = new Map<MemberId, PeerLink>();
  /** In force, committed or not: whom to talk to. */
  private membership: Membership = nobody;
  /** Committed: whom to let in. */
  private agreed: Membership = nobody;
  /** Of each peer, the process that was let in last. */
  private readonly runs = new Map<MemberId, string>();
  private readonly encoder = new MessageEncoder();
  /** Snapshots on their way out. */
  private readonly streams = new Set<TLSSocket>();
  private context: SecureContext;
  private handlers: PeerHandlers | undefined;
  private isClosed = false;
  private listeningPort = 0;

  /**
   * Listens, but lets nobody in before `start`. Rejects when it can't listen. Throws when the
   * credentials' key is not the member's.
   */
  static async open(deps: TlsPeerTransportDeps): Promise<TlsPeerTransport> {
    const transport = new TlsPeerTransport(deps);
    transport.listeningPort = await transport.listener.listen(deps.listen.host, deps.listen.port);
    return transport;
  }

  private constructor(deps: TlsPeerTransportDeps) {
    this.deps = deps;
    checkKey(deps.credentials, deps.id);
    this.context = clientContext(deps.credentials);
    const { id, clusterId, clock, logger } = deps;
    this.listener = new PeerListener(deps.credentials, {
      clock,
      logger,
      judge: {
        id,
        clusterId,
        membership: () => this.agreed,
        acknowledged: (peer, run) =>
          this.runs.get(peer) === run ? undefined : this.handlers?.acknowledged(peer),
      },
      handlers: () => (this.isClosed ? undefined : this.handlers),
      onHello: (hello, host) => this.learn(hello, host),
    });
  }

  get port(): number {
    return this.listeningPort;
  }

  start(handlers: PeerHandlers): void {
    this.handlers = handlers;
  }

  /** A renewed certificate of the same key, for connections from now on. */
  setCredentials(credentials: PeerCredentials): void {
    checkKey(credentials, this.deps.id);
    this.context = clientContext(credentials);
    this.listener.setCredentials(credentials);
  }

  setMembership(membership: Membership, agreed = membership): void {
    const before = this.membership.members;
    this.membership = membership;
    this.agreed = agreed;
    for (const { id } of before) if (!this.isMember(id)) this.forget(id);
    for (const { id, addresses } of membership.members)
      if (id !== this.deps.id) this.link(id).setAddresses(addresses);
  }

  announced(peer: MemberId): Announcement | undefined {
    return this.links.get(peer)?.announced;
  }

  private isMember(id: MemberId): boolean {
    return this.membership.members.some((member) => member.id === id);
  }

  send(message: Message): void {
    if (!this.isClosed) this.links.get(message.to)?.send(message);
  }

  async sendSnapshot(to: MemberId, source: SnapshotSource): Promise<void> {
    const link = this.links.get(to);
    if (link === undefined || this.isClosed) throw new Error(`member ${to} is not known here`);
    const { socket } = await link.dialSnapshot();
    if (this.isClosed) {
      socket.destroy();
      throw new Error('the transport was closed');
    }
    this.streams.add(socket);
    const { clock } = this.deps;
    const bytesPerSecond = this.deps.snapshotBytesPerSecond ?? snapshotBytesPerSecond;
    try {
      await streamSnapshot(socket, source, { clock, bytesPerSecond });
    } finally {
      this.streams.delete(socket);
    }
  }

  /** Of all peers a link leads to. */
  peers(): readonly PeerStatus[] {
    return [...this.links.values()].map((link) => link.status());
  }

  /** This machine has other addresses than before. */
  moved(): void {
    for (const link of this.links.values()) link.moved();
  }

  close(): void {
    this.isClosed = true;
    this.listener.close();
    for (const link of this.links.values()) link.close();
    for (const socket of this.streams) socket.destroy();
  }

  private link(id: MemberId): PeerLink {
    const found = this.links.get(id);
    if (found !== undefined) return found;
    const { clock, random, logger, limits = standardLimits } = this.deps;
    const link = new PeerLink(id, {
      clock,
      random,
      logger,
      limits,
      encoder: this.encoder,
      context: () => this.context,
      hello: (to, lane) => this.hello(to, lane),
      onUnreachable: (peer) => this.handlers?.onUnreachable(peer),
      onRemoved: (by) => this.handlers?.onRemoved(by),
      onLostData: (by, sentence) => this.handlers?.onLostData(by, sentence),
    });
    this.links.set(id, link);
    return link;
  }

  private hello(to: MemberId, lane: Hello['lane']): Hello {
    const { id: from, clusterId, isAlwaysOn, disk, entryVersion } = this.deps;
    return {
      clusterId,
      from,
      to,
      lane,
      addresses: this.deps.addresses(this.port),
      isAlwaysOn,
      ...(disk === undefined ? {} : { disk }),
      ...(entryVersion === undefined ? {} : { entryVersion }),
    };
  }

  private forget(id: MemberId): void {
    if (id === this.deps.id) return;
    this.links.get(id)?.close();
    this.links.delete(id);
    this.runs.delete(id);
    this.listener.drop(id);
  }

  /** Where the peer says it is, and, at the port it listens on, where it came from. */
  private learn(hello: Hello, host: string): void {
    const { from, addresses, disk } = hello;
    if (disk !== undefined) this.runs.set(from, disk.run);
    if (!this.links.has(from)) this.forgetStrangers();
    const port = /:(\d+)$/.exec(addresses[0] ?? '')?.[1];
    const plain = host.replace(/^::ffff:/, '');
    const seen = plain.includes(':') ? `[${plain}]` : plain;
    const all = port === undefined ? addresses : [...addresses, `${seen}:${port}`];
    this.link(from).heard(all, hello);
  }

  /** Makes room for one more. */
  private forgetStrangers(): void {
    const strangers = [...this.links.keys()].filter((id) => !this.isMember(id));
    for (const id of strangers.slice(0, Math.max(0, strangers.length + 1 - strangersMax))) {
      this.links.get(id)?.close();
      this.links.delete(id);
    }
  }
}

function checkKey({ keyPem }: PeerCredentials, id: MemberId): void {
  assert(memberIdOf(publicKeyDer(keyPem)) === id, `the key is not that of member ${id}`);
}
