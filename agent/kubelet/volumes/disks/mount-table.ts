// Pure: what /proc/self/mountinfo and /etc/fstab say. Source: proc_pid_mountinfo(5), fstab(5).

export interface MountEntry {
  readonly mountPoint: string;
  /** `major:minor`. */
  readonly device: string;
  readonly fsType: string;
  readonly source: string;
}

export function parseMountInfo(text: string): MountEntry[] {
  return text.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , device = '', , mountPoint = ''] = before.split(' ');
    const [fsType = '', source = ''] = after.split(' ');
    if (mountPoint === '') return [];
    return [{ mountPoint: unescape(mountPoint), device, fsType, source: unescape(source) }];
  });
}

/** The mount that a path without links in it lies on: of the longest mount points the one on top. */
export function mountOf(entries: readonly MountEntry[], path: string): MountEntry | undefined {
  let found: MountEntry | undefined;
  for (const entry of entries)
    if (isWithin(entry.mountPoint, path))
      if (found === undefined || entry.mountPoint.length >= found.mountPoint.length) found = entry;
  return found;
}

/** Mount points that fstab names, whether they are mounted or not. */
export function parseFstab(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => unescape(line.split(/\s+/)[1] ?? ''))
    .map((mountPoint) => mountPoint.replace(/(?<=.)\/+$/, ''))
    .filter((mountPoint) => mountPoint.startsWith('/') && mountPoint !== '/');
}

/** The folder itself, or something in it. */
export function isWithin(folder: string, path: string): boolean {
  const prefix = folder.endsWith('/') ? folder : `${folder}/`;
  return path === folder || path.startsWith(prefix);
}

function unescape(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 8)),
  );
}
