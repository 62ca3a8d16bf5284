// What a backup of the cluster says of itself, in its first file: of which cluster, of when, by which release, and
// the digests of its keys. Pure. What a newer release wrote, or nobody of us, is refused in a sentence.
import { rfc3339 } from '#kube/base/clock.ts';

export interface BackupManifest {
  readonly format: typeof format;
  readonly version: typeof version;
  /** Of Flotilla. */
  readonly release: string;
  readonly madeAt: string;
  /** Node whose control plane wrote it. */
  readonly madeOn: string;
  /** The store's, which changes with each adoption, and its ancestors. */
  readonly lineage: readonly string[];
  readonly stateBytes: number;
  readonly keys: readonly KeyFile[];
  /** Where other machines reached the control planes of then: `host:port`. */
  readonly addresses?: readonly string[];
}

export interface KeyFile {
  /** Below `pki`. */
  readonly name: string;
  readonly sha256: string;
}

/** Its message is a sentence for a person. Nothing was changed. */
export class BackupRefusedError extends Error {
  override readonly name = 'BackupRefusedError';
}

const format = 'flotilla-cluster-backup';
const version = 1;

/** What a cluster is known by. A member's own keys are not among them: whoever adopts is another member. */
export const keyNames = {
  needed: ['ca.crt', 'ca.key', 'sa.key', 'secrets.key'],
  ifThere: ['apps-ca.crt'],
} as const;

export function makeManifest(of: {
  readonly release: string;
  readonly nowMs: number;
  readonly nodeName: string;
  readonly lineage: readonly string[];
  readonly stateBytes: number;
  readonly keys: readonly KeyFile[];
  readonly addresses: readonly string[];
}): BackupManifest {
  const { nowMs, nodeName, ...rest } = of;
  return { format, version, madeAt: rfc3339(nowMs), madeOn: nodeName, ...rest };
}

/** `release`: ours. Throws BackupRefusedError, about `file`. */
export function parseManifest(text: string, file: string, release: string): BackupManifest {
  const found = recordOf(parsed(text));
  if (found['format'] !== format)
    throw new BackupRefusedError(
      `${file} opens, but is no backup of a cluster: give a file that Flotilla's backup wrote.`,
    );
  const theirs = String(found['release']);
  if (found['version'] !== version || isNewer(theirs, release))
    throw new BackupRefusedError(
      `${file} was written by Flotilla ${theirs}, and this is ${release}: update Flotilla on this computer first.`,
    );
  if (!isManifest(found))
    throw new BackupRefusedError(
      `${file} is incomplete: its list of contents lacks something. Use another backup.`,
    );
  return found;
}

/** By major, minor and patch; what is no version is not newer. */
export function isNewer(theirs: string, ours: string): boolean {
  const [a, b] = [numbersOf(theirs), numbersOf(ours)];
  for (let place = 0; place < 3; place++) {
    const difference = (a[place] ?? 0) - (b[place] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

function numbersOf(release: string): readonly number[] {
  return (/^(\d+)\.(\d+)\.(\d+)/.exec(release) ?? []).slice(1).map(Number);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function isManifest(value: object): value is BackupManifest {
  const { madeAt, madeOn, lineage, stateBytes, keys } = value as Partial<BackupManifest>;
  const { addresses = [] } = value as Partial<BackupManifest>;
  if (!Array.isArray(addresses) || !addresses.every((one) => typeof one === 'string')) return false;
  if (typeof madeAt !== 'string' || typeof madeOn !== 'string') return false;
  if (!Array.isArray(lineage) || !lineage.every((id) => typeof id === 'string')) return false;
  if (!Number.isSafeInteger(stateBytes) || !Array.isArray(keys)) return false;
  const names = keys.map((key) => recordOf(key)['name']);
  const known: readonly unknown[] = [...keyNames.needed, ...keyNames.ifThere];
  return (
    keys.every((key) => typeof recordOf(key)['sha256'] === 'string') &&
    names.every((name) => known.includes(name)) &&
    new Set(names).size === names.length &&
    keyNames.needed.every((name) => names.includes(name))
  );
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
