// Which of a group's versions is preferred: v2 before v1 before v2beta1 before v1alpha1 before any
// other text. Source: kubernetes apimachinery pkg/version/helpers.go CompareKubeAwareVersionStrings.

/** Positive when `a` comes before `b` in preference, so that sorting ascends. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [parse(a), parse(b)];
  if (left === undefined && right === undefined) return a < b ? 1 : a > b ? -1 : 0;
  if (left === undefined || right === undefined) return left === undefined ? -1 : 1;
  for (const [index, part] of left.entries()) {
    const difference = part - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

const stages: Readonly<Record<string, number>> = { alpha: 0, beta: 1 };

function parse(text: string): readonly number[] | undefined {
  const match = /^v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?$/.exec(text);
  if (match === null) return undefined;
  const [, major = '', stage, minor = '0'] = match;
  return [stage === undefined ? 2 : (stages[stage] ?? 0), Number(major), Number(minor)];
}
