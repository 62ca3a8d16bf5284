// When the next backup of the cluster is due, whether there is one that protects, and which old ones may go:
// grandfather, father, son. Pure.

export interface BackupKeep {
  /** The newest ones, whatever their day. */
  readonly last: number;
  /** The newest of each of so many days, weeks and months of which there is one, in UTC. */
  readonly daily: number;
  readonly weekly: number;
  readonly monthly: number;
}

export const defaultKeep: BackupKeep = { last: 3, daily: 7, weekly: 4, monthly: 12 };
export const defaultEveryHours = 24;

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** One that failed is tried again so soon, a shorter interval sooner. */
const retryMs = hourMs / 2;
/** So many intervals without a new one, and the last protects no more; a laptop sleeps over a weekend. */
const lateIntervals = 3;

export interface BackupTimes {
  readonly everyMs: number;
  /** Of the last one that is good; undefined: there is none. */
  readonly lastSuccessMs: number | undefined;
  /** Of the last one that failed, if it came after the last good one. */
  readonly lastFailureMs: number | undefined;
}

/** Milliseconds since the epoch, in the past when it is due. */
export function nextBackupMs({ everyMs, lastSuccessMs, lastFailureMs }: BackupTimes): number {
  const regular = lastSuccessMs === undefined ? 0 : lastSuccessMs + everyMs;
  if (lastFailureMs === undefined) return regular;
  return Math.max(regular, lastFailureMs + Math.min(retryMs, everyMs));
}

export function isTooOld({ everyMs, lastSuccessMs }: BackupTimes, nowMs: number): boolean {
  return lastSuccessMs !== undefined && nowMs - lastSuccessMs > lateIntervals * everyMs;
}

export interface KeptBackup {
  readonly name: string;
  readonly timeMs: number;
}

/** Names, the oldest first. The newest always stays, and what lies in the future counts as it says. */
export function backupsToForget(all: readonly KeptBackup[], keep: BackupKeep): readonly string[] {
  const newestFirst = all.toSorted((a, b) => b.timeMs - a.timeMs);
  const rules: readonly { readonly count: number; readonly of: (timeMs: number) => unknown }[] = [
    { count: keep.daily, of: (timeMs) => Math.floor(timeMs / dayMs) },
    // Weeks begin on Mondays; 1970 began on a Thursday.
    { count: keep.weekly, of: (timeMs) => Math.floor((timeMs / dayMs + 3) / 7) },
    { count: keep.monthly, of: (timeMs) => new Date(timeMs).toISOString().slice(0, 7) },
  ];
  const kept = new Set(newestFirst.slice(0, Math.max(1, keep.last)));
  for (const { count, of } of rules) {
    const seen = new Set<unknown>();
    for (const backup of newestFirst) {
      if (seen.size >= count) break;
      const period = of(backup.timeMs);
      if (!seen.has(period)) kept.add(backup);
      seen.add(period);
    }
  }
  return newestFirst
    .filter((backup) => !kept.has(backup))
    .map(({ name }) => name)
    .toReversed();
}

const ending = '.age';

/** In order of time, also as text. */
export function backupName(folder: string, timeMs: number): string {
  const time = new Date(timeMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, '');
  return `${folder}/cluster-${time}Z${ending}`;
}

/** Undefined: not one of ours, and none to forget. */
export function backupTimeMs(name: string): number | undefined {
  const [, y, mo, d, h, mi, s] =
    /\/cluster-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\.age$/.exec(name) ?? [];
  const timeMs = Date.parse(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`);
  return Number.isNaN(timeMs) ? undefined : timeMs;
}
