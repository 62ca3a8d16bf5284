// What agents and whoever upgrades them agree on: the annotations of a Node, and how a package is told of. A version is
// `0.1.0+DIGEST`: the digest (twelve digits) names the very files.

/** The agent that runs, said by itself; only by one that was placed on its machine as a package. */
export const versionAnnotation = 'flotilla.dev/agent-version';
/** The agent that is to run, said by the control plane. */
export const targetAnnotation = 'flotilla.dev/agent-target';
/** `DIGEST Failed: why`, or `DIGEST Waits: why`: what became of the last attempt at another agent. */
export const upgradeAnnotation = 'flotilla.dev/agent-upgrade';

/** When it was told to, by the control plane: RFC 3339. */
export const targetSinceAnnotation = 'flotilla.dev/agent-target-since';
/** `requested` by a person: what failed is forgotten and tried once more. Its agent takes it away. */
export const retryAnnotation = 'flotilla.dev/agent-retry';

export function digestOf(version: string): string {
  return /\+([0-9a-f]{12})$/.exec(version)?.[1] ?? '';
}

export interface UpgradeReport {
  readonly digest: string;
  readonly state: 'Failed' | 'Waits';
  readonly why: string;
}

export function upgradeText({ digest, state, why }: UpgradeReport): string {
  return `${digest} ${state}: ${why}`;
}

/** Undefined: there was none, or it can't be read. */
export function parseUpgrade(text: string | undefined): UpgradeReport | undefined {
  const [, digest = '', state, why = ''] =
    /^([0-9a-f]{12}) (Failed|Waits): (.*)$/s.exec(text ?? '') ?? [];
  return state === 'Failed' || state === 'Waits' ? { digest, state, why } : undefined;
}

export interface PackageText {
  readonly version: string;
  /** Of each file: sha256 and length in bytes. */
  readonly runtime: PackageFile;
  readonly agent: PackageFile;
}

export interface PackageFile {
  readonly sha256: string;
  readonly bytes: number;
}

/** Three lines that sh reads as easily. */
export function packageText({ version, runtime, agent }: PackageText): string {
  const line = (name: string, file: PackageFile) => `${name} ${file.sha256} ${file.bytes}\n`;
  return `version ${version}\n${line('runtime', runtime)}${line('agent', agent)}`;
}

/** Undefined: it is none. */
export function parsePackage(text: string): PackageText | undefined {
  const [, version] = /^version (\S+)$/m.exec(text) ?? [];
  const [runtime, agent] = ['runtime', 'agent'].map((name) => {
    const [, sha256 = '', bytes] =
      new RegExp(`^${name} ([0-9a-f]{64}) (\\d+)$`, 'm').exec(text) ?? [];
    return { sha256, bytes: Number(bytes) };
  });
  if (version === undefined || runtime?.sha256 === '' || agent?.sha256 === '') return undefined;
  return runtime && agent && { version, runtime, agent };
}
