// What an expression may use up, counted and never timed, so that the same object gets the same
// answer on every machine. Every step of an evaluation costs one, and more where a value is large.
import { Message } from './message.ts';

/** What all rules of one object may cost together: some hundred milliseconds at most. */
export const objectBudget = 200_000;

/** What all expressions of one policy may cost for one request and one parameter, or those of one webhook. */
export const requestBudget = 200_000;

/** What the expressions of all policies may cost for one request together. */
export const policiesBudget = 2_000_000;

export class BudgetError extends Error {
  override readonly name = 'BudgetError';
}

export class Budget {
  left = 0;
  /** Of lists, maps and messages with all that is in them. */
  readonly sizes = new WeakMap<object, number>();

  /** Throws a BudgetError once more was used than there is. */
  spend(cost: number): void {
    this.left -= cost;
    if (this.left < 0) throw new BudgetError('ran out of cost budget');
  }

  /** For a value that a step gave: whatever is done with it goes through it once. */
  spendOn(value: unknown): void {
    this.spend(
      1 + (typeof value === 'bigint' || typeof value === 'boolean' ? 0 : this.#weight(value)),
    );
  }

  #weight(value: unknown): number {
    if (typeof value === 'string') return value.length / 50;
    return typeof value === 'object' && value !== null ? this.#size(value) / 10 : 0;
  }

  /** A list of lists counts with all that is in them, however often: so does whoever walks it. */
  #size(value: object): number {
    const known = this.sizes.get(value);
    if (known !== undefined) return known;
    const items = value instanceof Message ? value.fields : value;
    if (!Array.isArray(items) && !(items instanceof Map)) return 0;
    let size = 1;
    for (const item of items.values()) size += this.#sizeOfItem(item);
    this.sizes.set(value, size);
    return size;
  }

  #sizeOfItem(item: unknown): number {
    if (typeof item === 'string') return 1 + item.length / 10;
    return typeof item === 'object' && item !== null ? Math.max(1, this.#size(item)) : 1;
  }
}
