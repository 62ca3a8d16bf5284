// Operating errors are told by their message: a stack says nothing to a person. Programmer errors
// are not caught, so their stacks reach the log by themselves.

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
