// What leads to one peer: where it may be found, and the connections to it. Urgent messages and
// entries have a connection each, so that a heartbeat never waits behind a megabyte.
// Addresses are hints, tried in turn; the one that worked last comes first.
import type { SecureContext } from 'node:tls';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { MemberId, Message } from '../raft/types.ts';
import type { Announcement } from './announcements.ts';
import type { MessageEncoder } from './peer-codec.ts';
import { dial, fails, type DialResult } from './peer-dial.ts';
import type { Hello, Lane, Refusal } from './peer-handshake.ts';
import { PeerLane, type LaneLimits } from './peer-lane.ts';

const addressesMax = 16;

export interface LinkDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly limits: LinkLimits;
  /** Of all links. */
  readonly encoder: MessageEncoder;
  context(): SecureContext;
  hello(to: MemberId, lane: Lane): Hello;
  onUnreachable(peer: MemberId): void;
  onRemoved(by: MemberId): void;
  onLostData(by: MemberId, sentence: string): void;
}

export interface LinkLimits {
  readonly control: LaneLimits;
  readonly bulk: LaneLimits;
}

export const standardLimits: LinkLimits = {
  control: { messagesMax: 4096, bytesMax: 4 * 1024 * 1024, pongTimeoutMs: 4000 },
  // Behind a slow line the pong waits for what the system has buffered.
  bulk: { messagesMax: 1024, bytesMax: 32 * 1024 * 1024, pongTimeoutMs: 15_000 },
};

/** For people. */
export interface PeerStatus {
  readonly id: MemberId;
  readonly isConnected: boolean;
  /** Where it was reached last. */
  readonly address: string | undefined;
  /** Why it does not want us. */
  readonly refusal: Refusal | undefined;
  /** As it said; undefined: it said nothing yet. */
  readonly isAlwaysOn: boolean | undefined;
}

export class PeerLink {
  readonly id: MemberId;
  private readonly deps: LinkDeps;
  private readonly control: PeerLane;
  private readonly bulk: PeerLane;
  /** Of the membership. */
  private named: readonly string[] = [];
  /** Of the peer itself, newest first. */
  private learned: readonly string[] = [];
  private lastGood: string | undefined;
  private refusal: Refusal | undefined;
  /** Told as a change, not at each attempt. */
  private isReachable = true;
  private isAlwaysOn: boolean | undefined;
  announced: Announcement | undefined;

  constructor(id: MemberId, deps: LinkDeps) {
    this.id = id;
    this.deps = deps;
    this.control = this.lane('control');
    this.bulk = this.lane('bulk');
  }

  send(message: Message): void {
    this[laneOf(message)].send(this.deps.encoder.encode(message));
  }

  setAddresses(addresses: readonly string[]): void {
    this.named = addresses;
    if (addresses.length > 0) this.control.keep();
  }

  /** The peer said hello: it is there, and says where it can be found. */
  heard(addresses: readonly string[], { isAlwaysOn, disk, entryVersion = 1 }: Hello): void {
    this.isAlwaysOn = isAlwaysOn;
    if (disk !== undefined) this.announced = { incarnation: disk.incarnation, entryVersion };
    this.learned = [...new Set([...addresses, ...this.learned])].slice(0, addressesMax);
    this.control.wake();
    this.bulk.wake();
  }

  /** A connection for one snapshot, at the first address that works. */
  async dialSnapshot(): Promise<Extract<DialResult, { type: 'open' }>> {
    let failure = new Error(`no address of member ${this.id} is known`);
    for (const address of this.addresses()) {
      const result = await new Promise<DialResult>((resolve) => {
        this.dial(address, 'snapshot', resolve);
      });
      if (result.type === 'open') return result;
      failure = result.type === 'failed' ? result.error : new Error(result.refusal.message);
    }
    throw failure;
  }

  status(): PeerStatus {
    const { id, lastGood, refusal, isAlwaysOn } = this;
    const isConnected = this.control.isOpen || this.bulk.isOpen;
    return { id, isConnected, address: lastGood, refusal, isAlwaysOn };
  }

  close(): void {
    this.control.close();
    this.bulk.close();
  }

  private addresses(): readonly string[] {
    const first = this.lastGood === undefined ? [] : [this.lastGood];
    return [...new Set([...first, ...this.named, ...this.learned])].slice(0, addressesMax);
  }

  private lane(lane: 'control' | 'bulk'): PeerLane {
    const { clock, random, limits } = this.deps;
    return new PeerLane({
      clock,
      random,
      limits: limits[lane],
      dial: (attempt, done) => {
        const addresses = this.addresses();
        const address = addresses[attempt % Math.max(1, addresses.length)];
        return this.dial(address, lane, done);
      },
      addressCount: () => this.addresses().length,
      onLost: (why) => this.lost(why),
      onSilent: () => this.breakAll(),
      onRefused: (refusal) => this.refused(refusal),
    });
  }

  private dial(
    address: string | undefined,
    lane: Lane,
    done: (result: DialResult) => void,
  ): { cancel(): void } {
    const { deps, id } = this;
    if (address === undefined) return fails(new Error(`no address of member ${id} is known`), done);
    const hello = deps.hello(id, lane);
    return dial({ address, hello, context: deps.context(), clock: deps.clock }, (result) => {
      if (result.type === 'open') this.reached(address);
      done(result);
    });
  }

  private reached(address: string): void {
    this.lastGood = address;
    this.refusal = undefined;
    if (!this.isReachable) this.deps.logger.info('Reached peer again', { peer: this.id, address });
    this.isReachable = true;
  }

  private lost(why: Error): void {
    if (this.isReachable) this.deps.logger.warn('Lost peer', { peer: this.id, error: why.message });
    this.isReachable = false;
    this.deps.onUnreachable(this.id);
  }

  /** This machine is elsewhere: what is open leads nowhere, and the peer has to hear where it is now, at once. */
  moved(): void {
    this.breakAll(new Error('this machine has another address'));
    this.control.wake();
    this.bulk.wake();
  }

  private breakAll(why = new Error('the peer is silent')): void {
    this.control.break(why);
    this.bulk.break(why);
  }

  private refused(refusal: Refusal): void {
    if (this.refusal?.message !== refusal.message)
      this.deps.logger.warn('Peer refuses this member', { peer: this.id, ...refusal });
    this.refusal = refusal;
    if (refusal.reason === 'removed') this.deps.onRemoved(this.id);
    if (refusal.reason === 'lost-data') this.deps.onLostData(this.id, refusal.message);
  }
}

/** Appends keep their order among each other, also empty ones: else they would be rejected. */
function laneOf({ type }: Message): 'control' | 'bulk' {
  return type === 'append' || type === 'propose' || type === 'snapshot' ? 'bulk' : 'control';
}
