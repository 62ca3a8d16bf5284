// Makes cached objects immutable: changing what a lister answered is the classic controller bug.

/** Freezes a tree of JSON values in place; stops at parts that are frozen already. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const child of Object.values(value)) deepFreeze(child);
  return value;
}
