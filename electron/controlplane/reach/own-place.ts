// Where this control plane is reached, while its machine's addresses come and go: whenever they change, its certificate
// names those that there are now, and its Lease says the one for others, from which endpoints follow. Nothing is started anew.
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';

export interface OwnPlaceDeps {
  /** Of this machine, now; best first. */
  readonly addresses: () => readonly string[];
  /** Calls when they may have changed, until the signal aborts. */
  readonly watch: (onChange: () => void, signal: AbortSignal) => Promise<void>;
  /** The steps, in order. Each is tried again until it is done or the addresses are others again. */
  readonly steps: readonly (() => Promise<unknown>)[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const retryMs = { first: 250, max: 5_000 };

/** Resolves when the signal aborts. What held at the start was seen to by whoever calls. */
export async function followOwnPlace(deps: OwnPlaceDeps): Promise<void> {
  const { addresses, watch, logger, signal } = deps;
  let told = addresses().join();
  let isBusy = false;
  async function look(): Promise<void> {
    if (isBusy) return;
    isBusy = true;
    while (addresses().join() !== told && !signal.aborted) {
      told = addresses().join();
      logger.info("This machine's addresses are others", { addresses: told });
      await move(deps, told);
    }
    isBusy = false;
  }
  await watch(() => void look(), signal);
}

async function move({ addresses, steps, ...deps }: OwnPlaceDeps, to: string): Promise<void> {
  const { clock, logger, signal } = deps;
  const isStill = (): boolean => !signal.aborted && addresses().join() === to;
  for (const step of steps) {
    let isTold = false;
    for (let waitMs = retryMs.first; isStill(); waitMs = Math.min(waitMs * 2, retryMs.max)) {
      try {
        await step();
        break;
      } catch (error) {
        // Without its network a member has no majority.
        if (!isTold) logger.warn('Others are not told yet where this machine is', { error });
        isTold = true;
      }
      await delay(clock, waitMs, signal);
    }
  }
}
