// Which other processors' programs this machine runs: what is registered with the kernel, and opened
// at that time (flag F), since a container has no emulator of its own.
// Source: Linux Documentation/admin-guide/binfmt-misc.rst.
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';

/** Go's words for what qemu calls otherwise. */
const goNames: Readonly<Record<string, string>> = {
  aarch64: 'arm64',
  x86_64: 'amd64',
  i386: '386',
};

/** `any` where the engine runs in a virtual machine of its own, which comes with emulators. */
export async function emulatedArchitectures(
  os: NodeJS.Platform,
  directory = '/proc/sys/fs/binfmt_misc',
): Promise<readonly string[] | 'any'> {
  if (os !== 'linux') return 'any';
  // Not mounted: nothing is registered.
  const entries = await readdir(directory).catch(() => []);
  const found: string[] = [];
  for (const entry of entries) {
    const name = /^qemu-(\w+)$/.exec(entry)?.[1];
    if (name === undefined) continue;
    const text = await readFile(path.join(directory, entry), 'utf8').catch(() => '');
    if (/^enabled$/m.test(text) && /^flags:.*F/m.test(text)) found.push(goNames[name] ?? name);
  }
  return found;
}
