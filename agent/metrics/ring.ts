// The last values of a few measures, a slot for each step of time: what a chart of one range is made
// of. Grows to its length and then forgets the oldest. NaN: nothing is known of that slot.

export interface RingShape {
  readonly stepMs: number;
  /** Slots at most. */
  readonly length: number;
  /** Measures in each slot. */
  readonly columns: number;
}

/** Plain data, as it is written down. */
export interface RingState {
  readonly lastSlot: number;
  /** Oldest slot first; its columns one after another. */
  readonly values: Float32Array;
}

const firstCapacity = 16;

export class Ring {
  readonly #shape: RingShape;
  #values: Float32Array;
  #capacity: number;
  /** Slots that are known: `lastSlot - count + 1` to `lastSlot`. A slot is `time / stepMs`. */
  #count = 0;
  #lastSlot = -Infinity;

  constructor(shape: RingShape) {
    this.#shape = shape;
    this.#capacity = Math.min(firstCapacity, shape.length);
    this.#values = new Float32Array(this.#capacity * shape.columns);
  }

  get lastSlot(): number {
    return this.#lastSlot;
  }

  get firstSlot(): number {
    return this.#lastSlot - this.#count + 1;
  }

  /** What was known of this slot and of later ones (the clock was set back) makes way. */
  put(slot: number, values: readonly number[]): void {
    if (this.#count > 0 && slot <= this.#lastSlot) this.#forgetFrom(slot);
    const gap = this.#count === 0 ? 0 : slot - this.#lastSlot - 1;
    if (gap >= this.#shape.length) this.#count = 0;
    else for (let i = 0; i < gap; i++) this.#append([]);
    if (this.#count === 0) this.#lastSlot = slot - 1;
    this.#append(values);
  }

  get(slot: number, column: number): number {
    if (slot < this.firstSlot || slot > this.#lastSlot) return Number.NaN;
    return this.#values[this.#index(slot) + column] ?? Number.NaN;
  }

  state(): RingState {
    const { columns } = this.#shape;
    const values = new Float32Array(this.#count * columns);
    for (let i = 0; i < this.#count; i++) {
      const from = this.#index(this.firstSlot + i);
      values.set(this.#values.subarray(from, from + columns), i * columns);
    }
    return { lastSlot: this.#lastSlot, values };
  }

  static of(shape: RingShape, { lastSlot, values }: RingState): Ring {
    const ring = new Ring(shape);
    const count = Math.floor(values.length / shape.columns);
    for (let i = 0; i < count; i++)
      ring.put(lastSlot - count + 1 + i, [
        ...values.subarray(i * shape.columns, (i + 1) * shape.columns),
      ]);
    return ring;
  }

  #append(values: readonly number[]): void {
    const { length, columns } = this.#shape;
    if (this.#count === this.#capacity && this.#capacity < length) this.#grow();
    this.#lastSlot++;
    this.#count = Math.min(this.#count + 1, this.#capacity);
    const at = this.#index(this.#lastSlot);
    for (let column = 0; column < columns; column++)
      this.#values[at + column] = values[column] ?? Number.NaN;
  }

  #grow(): void {
    const { values } = this.state();
    const { length, columns } = this.#shape;
    const first = this.firstSlot;
    this.#capacity = Math.min(length, this.#capacity * 2);
    this.#values = new Float32Array(this.#capacity * columns);
    for (let i = 0; i < this.#count; i++)
      this.#values.set(values.subarray(i * columns, (i + 1) * columns), this.#index(first + i));
  }

  #forgetFrom(slot: number): void {
    this.#count = Math.max(0, slot - this.firstSlot);
    this.#lastSlot = slot - 1;
  }

  #index(slot: number): number {
    return (slot % this.#capacity) * this.#shape.columns;
  }
}
