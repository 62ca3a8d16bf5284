// Pure: what this machine has → how Docker Engine gets onto it and starts, step by step, or why it
// can't. Knows the commands; runs nothing.

export interface InstallFacts {
  readonly isRoot: boolean;
  /** dockerd's file; undefined: not installed. */
  readonly engineProgram: string | undefined;
  readonly hasApt: boolean;
  readonly hasSystemd: boolean;
  /** A socket that the person named by DOCKER_HOST. */
  readonly askedSocket: string | undefined;
}

export type InstallStep =
  | { readonly kind: 'say'; readonly sentence: string }
  | { readonly kind: 'run'; readonly command: string; readonly args: readonly string[] }
  /** No service manager here: the engine becomes a process of its own that stays. */
  | { readonly kind: 'start-detached'; readonly program: string };

/** nftables and conntrack for the service proxy, iptables for Docker itself. */
export const enginePackages = ['docker.io', 'nftables', 'conntrack', 'iptables'];

/** Why the engine can be neither installed nor started here; undefined: it can. */
export function installObstacle(facts: InstallFacts): string | undefined {
  if (facts.askedSocket !== undefined)
    return `DOCKER_HOST names the engine at ${facts.askedSocket}: start that one, or start Flotilla without DOCKER_HOST`;
  if (!facts.isRoot)
    return 'installing Docker Engine needs root: run "sudo apt-get install docker.io", or start Flotilla as root';
  if (facts.engineProgram !== undefined || facts.hasApt) return undefined;
  return 'this system has no apt-get: install Docker Engine by its own package manager';
}

/** Nothing when it is there. The package may start the engine by itself. */
export function installSteps(facts: InstallFacts): readonly InstallStep[] {
  if (facts.engineProgram !== undefined) return [];
  const install = ['install', '-y', '--no-install-recommends', ...enginePackages];
  return [
    {
      kind: 'say',
      sentence:
        'No container engine on this machine: installing Docker Engine (docker.io, nftables) with apt-get. --no-install forbids it.',
    },
    { kind: 'run', command: 'apt-get', args: ['update'] },
    { kind: 'run', command: 'apt-get', args: install },
  ];
}

export function startSteps(facts: InstallFacts): readonly InstallStep[] {
  const say = { kind: 'say', sentence: 'Starting Docker Engine.' } as const;
  if (facts.hasSystemd)
    return [say, { kind: 'run', command: 'systemctl', args: ['enable', '--now', 'docker'] }];
  return [say, { kind: 'start-detached', program: facts.engineProgram ?? 'dockerd' }];
}
