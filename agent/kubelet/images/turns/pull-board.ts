// What this machine is about to pull from a registry, or pulls, for others that ask: they wait for it
// instead of pulling the same. Only what they may have from here afterwards is on it.
import type { PullProgress } from '../../../runtime/runtime.ts';
import { fullName, type ImageName } from '../image-name.ts';
import type { PullPhase, PullState } from './answer.ts';

export class PullBoard {
  readonly #pulls = new Map<string, Set<OwnPull>>();

  /** `asking` from now on, so that of two machines that ask at once at least one hears of the other. */
  announce(image: ImageName): OwnPull {
    const name = fullName(image);
    const pulls = this.#pulls.get(name) ?? new Set();
    this.#pulls.set(name, pulls);
    const pull = new OwnPull(() => {
      pulls.delete(pull);
      if (pulls.size === 0 && this.#pulls.get(name) === pulls) this.#pulls.delete(name);
    });
    pulls.add(pull);
    return pull;
  }

  of(image: ImageName): PullState | undefined {
    const pulls = [...(this.#pulls.get(fullName(image)) ?? [])];
    return pulls.find(({ phase }) => phase === 'pulling') ?? pulls[0];
  }
}

export class OwnPull implements PullState {
  phase: PullPhase = 'asking';
  progress: PullProgress | undefined;
  /** Neither any longer. Idempotent. */
  readonly end: () => void;

  constructor(end: () => void) {
    this.end = end;
  }
}
