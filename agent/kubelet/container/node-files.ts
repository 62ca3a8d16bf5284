// Files of this machine that containers are made with: seccomp profiles.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { ContainerConfigError } from './environment.ts';

/**
 * A profile that lies in the node's directory for them. Docker takes its content.
 * Throws ContainerConfigError.
 */
export async function readSeccompProfile(directory: string, name: string): Promise<string> {
  const file = path.resolve(directory, name);
  if (!file.startsWith(path.resolve(directory) + path.sep))
    throw new ContainerConfigError(
      `seccomp profile ${JSON.stringify(name)} leads out of its folder`,
    );
  try {
    return JSON.stringify(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ContainerConfigError(`cannot load seccomp profile ${JSON.stringify(file)}: ${why}`, {
      cause: error,
    });
  }
}
