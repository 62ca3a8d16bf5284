// Pure: whether an image's programs can run on a machine. Docker takes an image of another platform
// without a word when its registry has no other; the container then ends in "exec format error".
import type { ImageStatus, Platform } from '../../runtime/runtime.ts';

/** Processors that run an older one's programs, too. */
const older: Readonly<Record<string, string>> = { amd64: '386', arm64: 'arm' };

/** Undefined: it can, or nobody knows. */
export function platformProblem(
  name: string,
  { os, architecture }: Pick<ImageStatus, 'os' | 'architecture'>,
  machine: Platform,
): string | undefined {
  const isOs = os === '' || os === machine.os;
  if (isOs && canRun(architecture, machine)) return undefined;
  const found = isOs ? architecture : `${os}/${architecture}`;
  return `no ${machine.architecture} build of "${name}": it is for ${found}`;
}

function canRun(architecture: string, machine: Platform): boolean {
  if (architecture === '' || architecture === machine.architecture) return true;
  if (older[machine.architecture] === architecture) return true;
  return machine.emulated === 'any' || machine.emulated.includes(architecture);
}

/** What the registry itself says when its list of platforms lacks this one. */
const noMatch = /no matching manifest for (?:\w+)\/(\w+)/;

/** The engine's reason for a failed pull, with what it means. */
export function pullProblem(name: string, message: string): string {
  const architecture = noMatch.exec(message)?.[1];
  return architecture === undefined ? message : `no ${architecture} build of "${name}": ${message}`;
}
