// Pure: whether the disk that a volume lies on is there. A folder on a disk that is not connected is an
// empty folder on the system's disk, and an app started on it would begin anew, or fill the SD card.
// Nothing here ever formats or mounts a disk.
import { isWithin, mountOf, type MountEntry } from './mount-table.ts';

/** What a volume was first used on. Never the root file system: that is always there. */
export interface Disk {
  readonly mountPoint: string;
  readonly fsType: string;
  /** Of the file system; undefined where it has none (memory, network). */
  readonly uuid?: string;
}

export interface Machine {
  readonly nodeName: string;
  readonly mounts: readonly MountEntry[];
  /** Of /etc/fstab. */
  readonly expectedMountPoints: readonly string[];
  /** `major:minor`, or a path in /dev → UUID, of /dev/disk/by-uuid. */
  readonly uuids: ReadonlyMap<string, string>;
}

/** Undefined: on the system's own disk. `path`: without links in it. */
export function diskOf(path: string, { mounts, uuids }: Machine): Disk | undefined {
  const entry = mountOf(mounts, path);
  if (entry === undefined || entry.mountPoint === '/') return undefined;
  const { mountPoint, fsType, device, source } = entry;
  const uuid = uuids.get(device) ?? uuids.get(source);
  return { mountPoint, fsType, ...(uuid === undefined ? {} : { uuid }) };
}

export function parseDisk(text: string): Disk | undefined {
  try {
    const { mountPoint, fsType, uuid } = JSON.parse(text) as Partial<Disk>;
    if (typeof mountPoint !== 'string' || typeof fsType !== 'string') return undefined;
    return { mountPoint, fsType, ...(typeof uuid === 'string' ? { uuid } : {}) };
  } catch {
    return undefined;
  }
}

/** Why an app must not start on the path; undefined: it may. */
export function diskProblem(
  path: string,
  recorded: Disk | undefined,
  machine: Machine,
): string | undefined {
  const { nodeName, mounts } = machine;
  if (recorded !== undefined) {
    const now = diskOf(path, machine);
    const isSame =
      now?.mountPoint === recorded.mountPoint &&
      now.fsType === recorded.fsType &&
      (recorded.uuid === undefined || now.uuid === recorded.uuid);
    if (isSame) return undefined;
    const which = `the disk ${describe(recorded)} of ${recorded.mountPoint}`;
    if (now?.mountPoint === recorded.mountPoint)
      return `${which} is not connected to ${nodeName}: another one (${describe(now)}) is mounted there`;
    return `${which} is not connected to ${nodeName}, or not mounted there`;
  }
  const isMounted = (point: string) => mounts.some(({ mountPoint }) => mountPoint === point);
  const expected = machine.expectedMountPoints
    .filter((point) => isWithin(point, path))
    .find((point) => !isMounted(point));
  if (expected !== undefined)
    return `the disk of ${expected} (named in /etc/fstab) is not connected to ${nodeName}, or not mounted there`;
  const removable = removableMountPoint(path);
  return removable === undefined || isMounted(removable)
    ? undefined
    : `no disk is mounted at ${removable} of ${nodeName}`;
}

/** Where desktops mount what is plugged in: `/media/USER/LABEL`, `/run/media/USER/LABEL`. */
function removableMountPoint(path: string): string | undefined {
  return /^(?:\/run)?\/media\/[^/]+\/[^/]+/.exec(path)?.[0];
}

function describe({ uuid, fsType }: Disk): string {
  return uuid === undefined ? `(${fsType})` : `${uuid} (${fsType})`;
}
