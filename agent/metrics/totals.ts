// Sums of what is known.

/** Undefined when nothing is known. */
export function total(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : known.reduce((sum, value) => sum + value, 0);
}

export function workingSet(
  containers: readonly { readonly memoryWorkingSetBytes?: number }[],
): number | undefined {
  return total(containers.map((container) => container.memoryWorkingSetBytes));
}

const nanosPerSecond = 1e9;

export function inSeconds(nanoseconds: number | undefined): number | undefined {
  return nanoseconds === undefined ? undefined : nanoseconds / nanosPerSecond;
}
