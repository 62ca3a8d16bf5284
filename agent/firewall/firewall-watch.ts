// The driver: looks at the owner's firewalls when one of them is told to have changed and every five minutes, while one is
// in the way every half minute; judges anew when this machine is used in another way. Says what they hold back.
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { messageOf } from '../error-message.ts';
import type { NodeVerdict } from '../kubelet/node/machine-conditions.ts';
import type { Firewall } from './packets.ts';
import { obstacles, type Obstacle, type PassageName, type Used } from './passages.ts';

export interface FirewallWatchDeps {
  readonly read: () => Promise<readonly Firewall[]>;
  /** Resolves when nobody tells of changes any more. */
  readonly follow: (onChange: () => void, signal: AbortSignal) => Promise<void>;
  /** By now. */
  readonly used: () => Used;
  readonly clock: Clock;
  readonly logger: Logger;
  /** `verdict` or `holdsBack` may answer something else. */
  readonly onChange: () => void;
  readonly signal: AbortSignal;
}

/** Of a rule that comes to a chain nobody tells; nor does iptables of before nftables of anything. */
const resyncMs = 300_000;
/** Somebody may be doing what was told to be done. */
const heldMs = 30_000;
/** Rules change in bursts. */
const settleMs = 300;
/** A look runs some programs: who changes rules without end does not have us run them without end. */
const gapMs = 5_000;

export class FirewallWatch {
  readonly #deps: FirewallWatchDeps;
  #timer: Timer | undefined;
  #atMs = -Infinity;
  #isDueAtMs = Infinity;
  #firewalls: readonly Firewall[] = [];
  #obstacles: readonly Obstacle[] | undefined;
  #isFollowing = false;
  readonly #first = Promise.withResolvers<void>();

  constructor(deps: FirewallWatchDeps) {
    this.#deps = deps;
    deps.signal.addEventListener('abort', () => this.#timer?.cancel(), { once: true });
  }

  start(): void {
    this.#lookIn(0);
  }

  /** One was changed. */
  trigger(): void {
    const sinceMs = this.#deps.clock.monotonicMs() - this.#atMs;
    this.#lookIn(Math.max(settleMs, gapMs - sinceMs));
  }

  /** What this machine is used for may have changed. */
  judge(): void {
    if (this.#obstacles === undefined) return;
    const found = obstacles(this.#firewalls, this.#deps.used());
    const isSame = textOf(found) === textOf(this.#obstacles);
    this.#obstacles = found;
    if (isSame) return;
    for (const { message } of found) this.#deps.logger.warn('Firewall', { problem: message });
    this.#deps.onChange();
  }

  /** Once it was looked: whether a firewall of this machine drops it, in a sentence. */
  async holdsBack(name: PassageName): Promise<string | undefined> {
    await this.#first.promise;
    return this.#obstacles?.find(({ names }) => names.has(name))?.message;
  }

  /** Undefined before it was looked. */
  verdict(): NodeVerdict | undefined {
    const type = 'FirewallInTheWay';
    if (this.#obstacles === undefined) return undefined;
    if (this.#obstacles.length === 0)
      return {
        type,
        status: 'False',
        reason: 'NothingHeldBack',
        message: 'no firewall of this machine is known to hold back what the cluster needs',
      };
    const message = textOf(this.#obstacles);
    return { type, status: 'True', reason: 'FirewallDrops', message };
  }

  #lookIn(delayMs: number): void {
    const { clock, signal } = this.#deps;
    const dueAtMs = clock.monotonicMs() + delayMs;
    if (signal.aborted || dueAtMs >= this.#isDueAtMs) return;
    this.#timer?.cancel();
    this.#isDueAtMs = dueAtMs;
    this.#timer = clock.timer(delayMs, () => void this.#look());
  }

  async #look(): Promise<void> {
    const { read, clock, logger } = this.#deps;
    this.#atMs = clock.monotonicMs();
    this.#isDueAtMs = Infinity;
    this.#follow();
    try {
      this.#firewalls = await read();
    } catch (error) {
      logger.debug('Firewalls not read', { error: messageOf(error) });
    }
    const isFirst = this.#obstacles === undefined;
    this.#obstacles ??= [];
    this.judge();
    if (isFirst && this.#obstacles.length === 0) this.#deps.onChange();
    this.#first.resolve();
    this.#lookIn(this.#obstacles.length === 0 ? resyncMs : heldMs);
  }

  #follow(): void {
    const { follow, signal } = this.#deps;
    if (this.#isFollowing || signal.aborted) return;
    this.#isFollowing = true;
    void follow(() => this.trigger(), signal).then(() => (this.#isFollowing = false));
  }
}

function textOf(found: readonly Obstacle[]): string {
  return found.map(({ message }) => message).join(' ');
}
