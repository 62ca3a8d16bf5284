// Counts in a status, as Kubernetes writes them: most are left out when they are zero.
// Source: `omitempty` in kubernetes staging/src/k8s.io/api/{apps,core}/v1/types.go.

/** Leaves out those of `names` that are zero. Others are required, or pointers in Go. */
export function withoutZeros<T extends object>(status: T, names: readonly (keyof T)[]): T {
  const kept = { ...status };
  for (const name of names) if (kept[name] === 0) delete kept[name];
  return kept;
}
