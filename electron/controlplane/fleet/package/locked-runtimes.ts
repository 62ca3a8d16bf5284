// Which Node a machine gets: the npm package of its architecture that the lock file names.

export type Architecture = 'x64' | 'arm64';

/** Of the lock file. */
export interface LockedPackage {
  readonly name: string;
  readonly version: string;
  /** `sha512-…` in base64. */
  readonly integrity: string;
}

export type LockedRuntimes = Readonly<Record<Architecture, LockedPackage>>;

/** Throws when the lock file does not name them. */
export function lockedRuntimes(lockText: string): LockedRuntimes {
  const { packages } = JSON.parse(lockText) as {
    readonly packages: Readonly<Record<string, Omit<LockedPackage, 'name'> | undefined>>;
  };
  const of = (architecture: Architecture): LockedPackage => {
    const name = `node-linux-${architecture}`;
    const found = packages[`node_modules/${name}`];
    if (found === undefined) throw new Error(`the lock file has no ${name}`);
    return { name, version: found.version, integrity: found.integrity };
  };
  return { x64: of('x64'), arm64: of('arm64') };
}
