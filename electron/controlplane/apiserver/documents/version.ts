// What `kubectl version` shows: which Kubernetes this speaks, and which Flotilla it is.

export interface Build {
  /** Flotilla's own, such as `0.1.0`. */
  readonly version: string;
  /** Go's words, as clients expect: `linux/amd64`. */
  readonly platform: string;
}

/** The Kubernetes version whose API this server offers. */
export const kubernetesVersion = '1.35.0';

export function gitVersion(build: Build): string {
  return `v${kubernetesVersion}+flotilla-${build.version}`;
}

export function versionInfo(build: Build): object {
  const [major, minor] = kubernetesVersion.split('.');
  return {
    major,
    minor,
    gitVersion: gitVersion(build),
    gitCommit: '',
    gitTreeState: 'clean',
    buildDate: '1970-01-01T00:00:00Z',
    goVersion: '',
    compiler: '',
    platform: build.platform,
  };
}

/** Node's names of platform and architecture in Go's words. */
export function goPlatform(platform: string, architecture: string): string {
  const systems: Readonly<Record<string, string>> = { win32: 'windows' };
  const machines: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };
  return `${systems[platform] ?? platform}/${machines[architecture] ?? architecture}`;
}
