// Semantic versions (semver.org 2.0), and what expressions may ask of them.
// Source: kubernetes apiserver pkg/cel/library/semverlib.go.
import type { Environment } from '@marcbachmann/cel-js';

const pattern =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*))*))?(?:\+[\da-zA-Z-]+(?:\.[\da-zA-Z-]+)*)?$/;

export class Semver {
  readonly parts: readonly bigint[];
  readonly prerelease: readonly string[];
  constructor(parts: readonly bigint[], prerelease: readonly string[]) {
    this.parts = parts;
    this.prerelease = prerelease;
  }

  compareTo(other: Semver): number {
    for (const [index, part] of this.parts.entries()) {
      const difference = part - (other.parts[index] ?? 0n);
      if (difference !== 0n) return difference < 0n ? -1 : 1;
    }
    return comparePrereleases(this.prerelease, other.prerelease);
  }
}

/** A version without one comes after all that have one. */
function comparePrereleases(a: readonly string[], b: readonly string[]): number {
  if (a.length === 0 || b.length === 0) return Math.sign(b.length - a.length);
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const [left, right] = [a[index], b[index]];
    if (left === undefined || right === undefined) return left === undefined ? -1 : 1;
    if (left === right) continue;
    const [isLeft, isRight] = [left, right].map((one) => /^\d+$/.test(one));
    if (isLeft === true && isRight === true) return BigInt(left) < BigInt(right) ? -1 : 1;
    if (isLeft !== isRight) return isLeft === true ? -1 : 1;
    return left < right ? -1 : 1;
  }
  return 0;
}

/** Undefined for what is none. `normalize`: a `v` in front, missing parts and zeros in front are put right. */
export function parseSemver(text: string, normalize = false): Semver | undefined {
  const match = pattern.exec(normalize ? normalized(text) : text);
  if (match === null) return undefined;
  const parts = match.slice(1, 4).map((part) => BigInt(part));
  if (parts.some((part) => BigInt.asUintN(64, part) !== part)) return undefined;
  return new Semver(parts, match[4]?.split('.') ?? []);
}

function normalized(text: string): string {
  const [, core = '', rest = ''] = /^v?([^-+]*)(.*)$/s.exec(text) ?? [];
  const parts = core.split('.').map((part) => part.replace(/^0+(?=\d)/, ''));
  while (parts.length < 3) parts.push('0');
  return parts.join('.') + rest;
}

export function registerSemver(env: Environment): void {
  env.registerType('Semver', Semver);
  const semver = (text: string, normalize = false): Semver => {
    const parsed = parseSemver(text, normalize);
    if (parsed === undefined) throw new Error(`invalid semver: ${JSON.stringify(text)}`);
    return parsed;
  };
  const isSemver = (text: string, normalize = false): boolean =>
    parseSemver(text, normalize) !== undefined;
  env.registerFunction('semver(string): Semver', (text: string) => semver(text));
  env.registerFunction('semver(string, bool): Semver', semver);
  env.registerFunction('isSemver(string): bool', (text: string) => isSemver(text));
  env.registerFunction('isSemver(string, bool): bool', isSemver);
  for (const [index, name] of ['major', 'minor', 'patch'].entries())
    env.registerFunction(`Semver.${name}(): int`, ({ parts }: Semver) => parts[index]);
  env.registerFunction('Semver.compareTo(Semver): int', (a: Semver, b: Semver) =>
    BigInt(a.compareTo(b)),
  );
  env.registerFunction(
    'Semver.isLessThan(Semver): bool',
    (a: Semver, b: Semver) => a.compareTo(b) < 0,
  );
  env.registerFunction(
    'Semver.isGreaterThan(Semver): bool',
    (a: Semver, b: Semver) => a.compareTo(b) > 0,
  );
  env.registerOperator('Semver == Semver', (a: Semver, b: Semver) => a.compareTo(b) === 0);
}
