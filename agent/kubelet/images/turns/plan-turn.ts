// Pure: which of several machines that want the same image at the same moment pulls it from the registry,
// and how long the others wait for that one.
//
// Each says first that it asks, then asks all others. So of two at least one hears of the other, and it
// never comes to two that pull: one that hears of somebody pulling waits. One that hears of others that
// ask as well goes by rank: whoever is before it goes first; for those after it, it asks again until they
// have seen it (they may have begun earlier and pull by now). Nobody waits for one after it that waits,
// so that no circle can close; and whoever ends, fails or falls silent is waited for no longer.
import { createHash } from 'node:crypto';
import type { PullProgress } from '../../../runtime/runtime.ts';
import type { PullState } from './answer.ts';

export interface Rival extends PullState {
  readonly machine: string;
}

export type Turn =
  | { readonly kind: 'pull' }
  | { readonly kind: 'wait'; readonly rival: Rival }
  | { readonly kind: 'askAgain' };

/** `image`: its full name. Another machine is first for another image, so that not one has all the work. */
export function planTurn(image: string, self: string, rivals: readonly Rival[]): Turn {
  const rank = ({ machine }: { readonly machine: string }): string => rankOf(image, machine);
  const own = rankOf(image, self);
  const first = rivals.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1));
  const puller = first.find(({ phase }) => phase === 'pulling');
  if (puller !== undefined) return { kind: 'wait', rival: puller };
  const [best] = first;
  if (best === undefined) return { kind: 'pull' };
  return rank(best) < own ? { kind: 'wait', rival: best } : { kind: 'askAgain' };
}

function rankOf(image: string, machine: string): string {
  return createHash('sha256').update(`${image}\0${machine}`).digest('hex');
}

/** As long as a pull that stands still is waited for. */
export const standstillMs = 30_000;
/** Less than this in that time is a standstill: the line that all share gives more. */
export const paceBytes = 4_000_000;
/** In all; after that this machine asks the registry itself. */
export const patienceMs = 600_000;
/** So many others failed: it is not they who are the matter. */
const failuresMax = 2;

/** How long one pull has waited for other machines, and for which it waits no more. */
export class Patience {
  readonly #startedMs: number;
  readonly #marks = new Map<string, { readonly ms: number; readonly bytes: number }>();
  readonly #givenUp = new Set<string>();
  #failures = 0;

  constructor(nowMs: number) {
    this.#startedMs = nowMs;
  }

  /** Of what a machine has moved so far: whether it is worth waiting on. If not, it never is again. */
  isWorth(machine: string, bytes: number, nowMs: number): boolean {
    if (this.isOver(nowMs) || this.#givenUp.has(machine)) return false;
    const mark = this.#marks.get(machine);
    // Less than before: it began something else.
    const moved = mark && bytes - mark.bytes;
    if (moved === undefined || moved < 0 || moved >= paceBytes)
      this.#marks.set(machine, { ms: nowMs, bytes });
    else if (nowMs - mark!.ms >= standstillMs) this.giveUp(machine);
    return !this.#givenUp.has(machine);
  }

  /** It failed, went away or stands still. */
  giveUp(machine: string): void {
    if (this.#givenUp.has(machine)) return;
    this.#givenUp.add(machine);
    this.#failures++;
  }

  hasGivenUp(machine: string): boolean {
    return this.#givenUp.has(machine);
  }

  isOver(nowMs: number): boolean {
    return this.#failures >= failuresMax || nowMs - this.#startedMs >= patienceMs;
  }
}

/** Grows as long as a pull goes on. */
export function movedBytes(progress: PullProgress | undefined): number {
  if (progress === undefined) return 0;
  const { step, doneBytes, totalBytes = 0 } = progress;
  return step === 'unpacking' ? totalBytes + doneBytes : doneBytes;
}
