// Where Docker's socket is, and what to say when nobody answers there.
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import type { EngineProblem } from '../kubelet/node/node-status.ts';

export interface EngineEnvironment {
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly isRoot: boolean;
}

export const defaultSocketPath = '/var/run/docker.sock';

/** The socket that DOCKER_HOST names. Another machine's engine could not mount this one's files. */
export function askedSocket({ variables }: EngineEnvironment): string | undefined {
  const asked = variables['DOCKER_HOST'];
  return asked?.startsWith('unix://') === true ? asked.slice('unix://'.length) : undefined;
}

/** Places to look, the most wanted first. */
export function socketCandidates(environment: EngineEnvironment): readonly string[] {
  const { variables } = environment;
  const asked = askedSocket(environment);
  if (asked !== undefined) return [asked];
  const candidates = [defaultSocketPath];
  const runtimeDirectory = variables['XDG_RUNTIME_DIR'];
  if (runtimeDirectory !== undefined) candidates.push(path.join(runtimeDirectory, 'docker.sock'));
  const home = variables['HOME'];
  if (home !== undefined) candidates.push(path.join(home, '.docker/run/docker.sock'));
  return candidates;
}

/** The first candidate that is a socket; the default one when there is none. */
export function findSocket(environment: EngineEnvironment): string {
  const candidates = socketCandidates(environment);
  return candidates.find(isSocket) ?? candidates[0] ?? defaultSocketPath;
}

function isSocket(candidate: string): boolean {
  return statSync(candidate, { throwIfNoEntry: false })?.isSocket() === true;
}

/** The file of a program on PATH or in the system's folders; undefined when there is none. */
export function findProgram(name: string, { variables }: EngineEnvironment): string | undefined {
  const folders = [
    ...(variables['PATH'] ?? '').split(':'),
    '/usr/sbin',
    '/sbin',
    '/usr/bin',
    '/bin',
  ];
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => path.join(folder, name))
    .find((file) => existsSync(file));
}

export function engineProblem(why: string, environment: EngineEnvironment): EngineProblem {
  const socket = findSocket(environment);
  if (/EACCES|permission denied/i.test(why))
    return {
      reason: 'ContainerEngineForbidden',
      message: `Docker Engine does not let this user in (${socket}): add the user to the group "docker" (usermod -aG docker USER, then log in again), or run Flotilla as root`,
    };
  if (askedSocket(environment) !== undefined)
    return {
      reason: 'ContainerEngineStopped',
      message: `Docker Engine does not answer at ${socket}, which DOCKER_HOST names: start it there, or start Flotilla without DOCKER_HOST`,
    };
  if (isSocket(socket) || findProgram('dockerd', environment) !== undefined)
    return {
      reason: 'ContainerEngineStopped',
      message: `Docker Engine is installed but does not answer at ${socket}: start it, for example with "systemctl start docker"`,
    };
  return {
    reason: 'ContainerEngineMissing',
    message: 'There is no container engine on this machine: install Docker Engine to run apps here',
  };
}
