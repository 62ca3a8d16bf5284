// Asking again: what changed the object after others had seen it has those asked once more that want to be.
// Source: kubernetes apiserver pkg/admission/plugin/{webhook,policy}/mutating/reinvocationcontext.go.
import type { KubeObject } from '#kube/api/object.ts';
import { deepCopy, deepEqual } from '#kube/machinery/equality.ts';
import type { AdmissionAttributes, Rounds } from '../chain.ts';

/** From the first round to the second. */
interface Kept {
  /** What all that were asked left behind. */
  output: KubeObject | undefined;
  /** Asked, and willing to be asked again. */
  readonly willing: Set<string>;
  /** To be asked again. */
  readonly due: Set<string>;
}

export class Reinvocation {
  readonly #rounds: Rounds;
  readonly #kept: Kept;

  /** One of a plugin for each round. */
  constructor(plugin: string, rounds: Rounds, { object }: AdmissionAttributes) {
    const known = rounds.kept.get(plugin) as Kept | undefined;
    this.#rounds = rounds;
    this.#kept = known ?? { output: undefined, willing: new Set(), due: new Set() };
    rounds.kept.set(plugin, this.#kept);
    if (rounds.isSecond && !deepEqual(this.#kept.output, object)) this.#requireAll();
  }

  isDue(id: string): boolean {
    return !this.#rounds.isSecond || this.#kept.due.has(id);
  }

  asked(
    id: string,
    { hasChanged, isWilling }: { readonly hasChanged: boolean; readonly isWilling: boolean },
  ): void {
    if (hasChanged) {
      this.#requireAll();
      this.#rounds.askAgain();
    }
    if (isWilling) this.#kept.willing.add(id);
  }

  /** When all have been asked. */
  end({ object }: AdmissionAttributes): void {
    this.#kept.output = deepCopy(object);
  }

  #requireAll(): void {
    const { willing, due } = this.#kept;
    for (const id of willing) due.add(id);
    willing.clear();
  }
}

/** Everybody holds the same object: its fields change, not the object. */
export function takeOver(target: KubeObject | undefined, source: KubeObject): void {
  if (target === undefined) return;
  for (const key of Object.keys(target)) delete (target as unknown as Record<string, unknown>)[key];
  Object.assign(target, source);
}
