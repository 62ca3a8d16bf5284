// What a controller has asked for but not yet seen in its cache: as long as something is expected,
// it must not act again, or it would create or delete twice. Bounded by the controller's objects.
// Source: kubernetes pkg/controller/controller_utils.go ControllerExpectations.
import type { Clock } from '../base/clock.ts';

/** A watch may miss what we wait for (it was created and deleted in between): then go on. */
const expiryMs = 300_000;

interface Expectation {
  creations: number;
  /** Uids of objects we have deleted and still see. */
  readonly deletions: Set<string>;
  setMs: number;
}

export class Expectations {
  readonly #clock: Clock;
  readonly #expected = new Map<string, Expectation>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  expectCreations(key: string, count: number): void {
    this.#touch(key).creations += count;
  }

  expectDeletions(key: string, uids: Iterable<string>): void {
    const { deletions } = this.#touch(key);
    for (const uid of uids) deletions.add(uid);
  }

  /** Seen in the cache, or the create failed. */
  creationObserved(key: string): void {
    const expectation = this.#expected.get(key);
    if (expectation !== undefined && expectation.creations > 0) expectation.creations--;
  }

  /** Gone from the cache, marked as being deleted, or the delete failed. */
  deletionObserved(key: string, uid: string): void {
    this.#expected.get(key)?.deletions.delete(uid);
  }

  /** Whether the cache shows everything asked for, or we have waited long enough. */
  isSatisfied(key: string): boolean {
    const expectation = this.#expected.get(key);
    if (expectation === undefined) return true;
    if (expectation.creations === 0 && expectation.deletions.size === 0) return true;
    return this.#clock.monotonicMs() - expectation.setMs > expiryMs;
  }

  /** The object is gone. */
  forget(key: string): void {
    this.#expected.delete(key);
  }

  #touch(key: string): Expectation {
    let expectation = this.#expected.get(key);
    if (expectation === undefined || this.isSatisfied(key)) {
      expectation = { creations: 0, deletions: new Set(), setMs: 0 };
      this.#expected.set(key, expectation);
    }
    expectation.setMs = this.#clock.monotonicMs();
    return expectation;
  }
}
