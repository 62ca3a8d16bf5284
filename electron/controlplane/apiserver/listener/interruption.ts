// Waiting that can be cut short, for streams that live for hours.
// Differs from Promise.race with one "it's over" promise: that promise would remember every race it
// took part in, and with it every chunk, until the stream ends.

export class Interruption {
  #isOver = false;
  #wake: (() => void) | undefined;

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Ends the wait under way, and all later ones at once. */
  readonly stop = (): void => {
    this.#isOver = true;
    this.#wake?.();
  };

  /** What `pending` gives, or undefined when stopped before. One wait at a time. */
  wait<T>(pending: Promise<T>): Promise<T | undefined> {
    return new Promise<T | undefined>((resolve, reject) => {
      this.#wake = () => resolve(undefined);
      const settle = (result: T): void => {
        // What came is not to be held until the next comes.
        this.#wake = undefined;
        resolve(result);
      };
      pending.then(settle, reject);
      if (this.#isOver) resolve(undefined);
    });
  }
}
