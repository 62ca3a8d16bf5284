// Programmer errors. An assertion that fails ends the process; its supervisor starts it again.

export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

export function assert(condition: unknown, message: string): asserts condition {
  if (condition === false || condition === undefined || condition === null)
    throw new AssertionError(message);
}

/** Ends an exhaustive switch: the compiler complains when a case is missing. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${JSON.stringify(value)}`);
}
