// Fields are owned in the version in which they were written. What a write changes in another version shows when the
// object before and after is converted to it: the field manager asks for that, and goes on when it has it, since
// a conversion may take a webhook.
// Source: sigs.k8s.io/structured-merge-diff merge/update.go (Converter).

export interface VersionRequest {
  readonly object: object;
  readonly apiVersion: string;
}

/** An object with the name of its schema. */
export interface Versioned {
  readonly object: object;
  readonly schema: string;
}

/** Given undefined: there is no such version any more. */
export type Converting<T> = Generator<VersionRequest, T, Versioned | undefined>;

/** Where all versions are alike, as those of a Scale. */
export function settledAlike<T>(work: Converting<T>, schema: string): T {
  let step = work.next();
  while (step.done !== true) step = work.next({ object: step.value.object, schema });
  return step.value;
}
