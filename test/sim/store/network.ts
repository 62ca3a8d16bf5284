// Simulated links between members: they lose, delay, reorder and duplicate messages and can be cut
// one way. Only what a client proposed is neither duplicated nor reordered: the real transport
// sends it once over TCP, and resending is the client's decision.
import type { MemberId, Membership, Message } from '../../../electron/controlplane/raft/types.ts';
import type {
  Announcement,
  DiskClaim,
} from '../../../electron/controlplane/replica/announcements.ts';
import { judgeMember } from '../../../electron/controlplane/replica/peer-handshake.ts';
import type {
  PeerHandlers,
  PeerTransport,
  SnapshotSource,
} from '../../../electron/controlplane/replica/types.ts';
import type { Host, World } from './world.ts';

export interface Weather {
  readonly lossRate: number;
  readonly duplicateRate: number;
  readonly delayMsMax: number;
  /** Now and then a message takes this much longer. */
  readonly straggleMsMax: number;
}

export const calm: Weather = { lossRate: 0, duplicateRate: 0, delayMsMax: 2, straggleMsMax: 0 };

/** What a process says of itself. */
export interface Self {
  readonly disk: DiskClaim;
  readonly entryVersion: number;
}

interface Endpoint {
  readonly host: Host;
  readonly self: Self;
  handlers: PeerHandlers | undefined;
  membership: Membership;
  /** By peer: the process that was let in last, and what it said. */
  readonly welcome: Map<MemberId, Self>;
}

export class SimNetwork {
  weather: Weather = calm;
  /** Whether a member that was removed is kept out at the door; else the protocol has to bear it. */
  refusesRemoved = false;
  readonly #world: World;
  readonly #endpoints = new Map<MemberId, Endpoint>();
  readonly #cuts = new Set<string>();
  /** When the last proposal on a link arrives: the next comes behind it. */
  readonly #lastProposalMs = new Map<string, number>();
  /** Of all messages, and the newest that arrived on each link. */
  #sent = 0;
  readonly #arrived = new Map<string, number>();
  /** Sees each message as it is sent. */
  onSend: (message: Message) => void = () => {};
  /** Sees each message before its receiver does. */
  onDeliver: (message: Message) => void = () => {};
  /** A member was told that a peer is out of reach, or what became of a snapshot. */
  onBroken: (from: MemberId, to: MemberId) => void = () => {};

  constructor(world: World) {
    this.#world = world;
  }

  /** From one to the other, in this direction. */
  cut(from: MemberId, to: MemberId): void {
    this.#cuts.add(`${from}>${to}`);
  }

  healAll(): void {
    this.#cuts.clear();
  }

  /** Both ways between each of `some` and each of `others`. */
  part(some: readonly MemberId[], others: readonly MemberId[]): void {
    for (const one of some)
      for (const other of others) {
        this.cut(one, other);
        this.cut(other, one);
      }
  }

  /** A process's way to the others; the one it had before is gone. */
  attach(id: MemberId, host: Host, self: Self): PeerTransport {
    const membership = { members: [] };
    const endpoint: Endpoint = { host, self, handlers: undefined, membership, welcome: new Map() };
    this.#endpoints.set(id, endpoint);
    return {
      start: (handlers) => {
        endpoint.handlers = handlers;
      },
      send: (message) => {
        if (this.#isAttached(id, endpoint)) this.#send(message);
      },
      sendSnapshot: async (to, source) => {
        try {
          await this.#sendSnapshot(id, endpoint, to, source);
        } finally {
          if (this.#isAttached(id, endpoint)) this.onBroken(id, to);
        }
      },
      setMembership: (inForce, agreed = inForce) => {
        endpoint.membership = agreed;
      },
      announced: (peer) => announcementOf(endpoint.welcome.get(peer)),
      close: () => {
        endpoint.handlers = undefined;
      },
    };
  }

  #isAttached(id: MemberId, endpoint: Endpoint): boolean {
    return endpoint.handlers !== undefined && this.#endpoints.get(id) === endpoint;
  }

  detach(id: MemberId): void {
    this.#endpoints.delete(id);
  }

  #isCut(from: MemberId, to: MemberId): boolean {
    return this.#cuts.has(`${from}>${to}`);
  }

  #delayMs(): number {
    const { delayMsMax, straggleMsMax } = this.weather;
    const straggles = straggleMsMax > 0 && this.#world.chance(0.05);
    if (straggles) this.#world.count('message straggled');
    return (
      this.#world.integer(1, delayMsMax) + (straggles ? this.#world.integer(0, straggleMsMax) : 0)
    );
  }

  #send(message: Message): void {
    this.onSend(message);
    const { from, to } = message;
    const isCut = this.#isCut(from, to);
    if (isCut || this.#world.chance(this.weather.lossRate)) {
      const way = this.#isCut(to, from) ? 'both ways' : 'one way';
      this.#world.count(isCut ? `message cut off ${way}` : 'message lost');
      if (this.#world.chance(0.2)) this.#unreachable(from, to);
      return;
    }
    if (message.type === 'read-index') this.#world.count('read forwarded');
    if (message.type === 'propose') {
      this.#world.count('proposal forwarded');
      const link = `${from}>${to}`;
      const at = Math.max(this.#world.nowMs + this.#delayMs(), this.#lastProposalMs.get(link) ?? 0);
      this.#lastProposalMs.set(link, at);
      return this.#deliver(message, at - this.#world.nowMs);
    }
    this.#deliver(message, this.#delayMs());
    if (!this.#world.chance(this.weather.duplicateRate)) return;
    this.#world.count('message duplicated');
    this.#deliver(message, this.#delayMs());
  }

  #deliver(message: Message, delayMs: number): void {
    const target = this.#endpoints.get(message.to);
    const sender = this.#endpoints.get(message.from);
    const number = ++this.#sent;
    this.#world.after(delayMs, () => {
      const link = `${message.from}>${message.to}`;
      const newest = this.#arrived.get(link) ?? 0;
      if (number < newest) this.#world.count('message overtaken');
      this.#arrived.set(link, Math.max(newest, number));
      const endpoint = this.#endpoints.get(message.to);
      // A process that was started meanwhile has other connections.
      if (endpoint === undefined || endpoint !== target) return;
      if (this.#isCut(message.from, message.to)) return;
      endpoint.host.process().schedule(() => {
        if (endpoint.handlers === undefined) return;
        if (sender !== undefined && !this.#isWelcome(message, sender, endpoint)) return;
        this.onDeliver(message);
        endpoint.handlers.onMessage(message);
      });
    });
  }

  /** As the greeting is judged that goes before a process's first message. */
  #isWelcome({ from, to }: Message, sender: Endpoint, receiver: Endpoint): boolean {
    const { self } = sender;
    const refusal = judgeMember(
      { from, ...self },
      {
        membership: () => receiver.membership,
        acknowledged: (peer, run) =>
          receiver.welcome.get(peer)?.disk.run === run
            ? undefined
            : receiver.handlers?.acknowledged(peer),
      },
    );
    if (refusal === undefined || (refusal.reason === 'removed' && !this.refusesRemoved)) {
      receiver.welcome.set(from, self);
      return true;
    }
    if (refusal.reason === 'removed') this.#world.count('removed member refused');
    if (refusal.reason === 'too-old') this.#world.count('old release refused');
    sender.host.process().schedule(() => {
      if (this.#endpoints.get(from) !== sender) return;
      if (refusal.reason === 'removed') sender.handlers?.onRemoved(to);
      if (refusal.reason === 'lost-data') sender.handlers?.onLostData(to, refusal.message);
    });
    return false;
  }

  #unreachable(from: MemberId, peer: MemberId): void {
    const endpoint = this.#endpoints.get(from);
    endpoint?.host.process().schedule(() => {
      if (endpoint.handlers === undefined) return;
      this.#world.count('peer told unreachable');
      this.onBroken(from, peer);
      endpoint.handlers.onUnreachable(peer);
    });
  }

  async #sendSnapshot(
    from: MemberId,
    sender: Endpoint,
    to: MemberId,
    source: SnapshotSource,
  ): Promise<void> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of source.chunks()) chunks.push(chunk.slice());
    await this.#wait(this.#delayMs() * 5);
    if (!this.#isAttached(from, sender)) throw new Error(`${from} is gone`);
    const endpoint = this.#endpoints.get(to);
    const isLost = this.#world.chance(this.weather.lossRate);
    const handlers = endpoint?.handlers;
    if (endpoint === undefined || handlers === undefined || this.#isCut(from, to) || isLost)
      throw new Error(`the snapshot for ${to} was lost`);
    const breaksAt = this.#world.chance(this.weather.lossRate)
      ? this.#world.integer(0, chunks.length)
      : undefined;
    if (breaksAt !== undefined) this.#world.count('snapshot broke off');
    await handlers.onSnapshot(from, source.mark, stream(chunks, breaksAt));
    if (this.#isCut(to, from)) throw new Error(`${to} could not say that it holds the snapshot`);
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#world.after(delayMs, resolve);
    });
  }
}

function announcementOf(self: Self | undefined): Announcement | undefined {
  return self && { incarnation: self.disk.incarnation, entryVersion: self.entryVersion };
}

async function* stream(
  chunks: readonly Uint8Array[],
  breaksAt: number | undefined,
): AsyncGenerator<Uint8Array> {
  for (const [i, chunk] of chunks.entries()) {
    if (i === breaksAt) throw new Error('the connection broke');
    yield chunk;
  }
  if (breaksAt === chunks.length) throw new Error('the connection broke');
}
