// Which level and version of the Pod Security Standards a namespace's labels ask for, and what of it a
// pod violates. Pure.
// Source: kubernetes pod-security-admission api/helpers.go, policy/registry.go.
import { field, invalid, type FieldError } from '#kube/machinery/field.ts';
import { baselineChecks } from './baseline.ts';
import type { Check, CheckedPod, VersionedCheck, Violation } from './check.ts';
import { restrictedChecks } from './restricted.ts';

/** From what allows everything to the strictest. */
const levels = ['privileged', 'baseline', 'restricted'] as const;
export type Level = (typeof levels)[number];

export interface LevelVersion {
  readonly level: Level;
  /** Minor version of Kubernetes. */
  readonly version: number | 'latest';
}

const modes = ['enforce', 'audit', 'warn'] as const;
type Mode = (typeof modes)[number];
export type Policy = Readonly<Record<Mode, LevelVersion>>;

export interface PolicyOfLabels {
  readonly policy: Policy;
  readonly errors: readonly FieldError[];
}

const prefix = 'pod-security.kubernetes.io/';

/** A policy comes out in any case: what enforces is strict when it can't be read, the rest silent. */
export function policyOf(labels: Readonly<Record<string, string>> = {}): PolicyOfLabels {
  const errors: FieldError[] = [];
  const complain = (label: string, value: string, why: string): void =>
    void errors.push(invalid(field('metadata', 'labels').key(label), value, why));
  const read = (mode: Mode): LevelVersion => {
    const level = labels[`${prefix}${mode}`] ?? 'privileged';
    const version = labels[`${prefix}${mode}-version`] ?? 'latest';
    const known = levels.find((one) => one === level);
    if (known === undefined)
      complain(`${prefix}${mode}`, level, `must be one of ${levels.join(', ')}`);
    const parsed = parseVersion(version);
    if (parsed === undefined)
      complain(`${prefix}${mode}-version`, version, 'must be "latest" or "v1.x"');
    const fallback = mode === 'enforce' ? 'restricted' : 'privileged';
    return { level: known ?? fallback, version: parsed ?? 'latest' };
  };
  const [enforce, audit, warn] = [read('enforce'), read('audit'), read('warn')];
  return { policy: { enforce, audit, warn }, errors };
}

function parseVersion(text: string): number | 'latest' | undefined {
  if (text === 'latest') return 'latest';
  const minor = /^v1\.(0|[1-9]\d{0,8})$/.exec(text)?.[1];
  return minor === undefined ? undefined : Number(minor);
}

/** `restricted:latest`, `baseline:v1.28`. */
export function levelText({ level, version }: LevelVersion): string {
  return `${level}:${version === 'latest' ? version : `v1.${version}`}`;
}

export function isSameLevel(a: LevelVersion, b: LevelVersion): boolean {
  return a.level === b.level && a.version === b.version;
}

export function isStricter(a: Level, b: Level): boolean {
  return levels.indexOf(a) > levels.indexOf(b);
}

export function violationsOf({ level, version }: LevelVersion, pod: CheckedPod): Violation[] {
  if (level === 'privileged') return [];
  const minor = version === 'latest' ? Infinity : version;
  const strict = level === 'restricted' ? inForce(restrictedChecks, minor) : new Map();
  const overridden = new Set([...strict.values()].flatMap(({ overrides = [] }) => overrides));
  const basic = [...inForce(baselineChecks, minor)].filter(([id]) => !overridden.has(id));
  return [...basic.map(([, one]) => one), ...strict.values()]
    .map(({ check }) => check(pod))
    .filter((violation) => violation !== undefined);
}

/** By id: what each check is at that version; those that came later are not there. */
function inForce(checks: readonly Check[], minor: number): Map<string, VersionedCheck> {
  const found = new Map<string, VersionedCheck>();
  for (const { id, versions } of checks) {
    const current = versions.findLast(({ since }) => since <= minor);
    if (current !== undefined) found.set(id, current);
  }
  return found;
}

/** `hostPort (container "a" uses hostPort 80), privileged (…)`. */
export function detailsText(violations: readonly Violation[]): string {
  return violations
    .map(({ reason, detail }) => (detail === '' ? reason : `${reason} (${detail})`))
    .join(', ');
}

export function reasonsText(violations: readonly Violation[]): string {
  return violations.map(({ reason }) => reason).join(', ');
}
