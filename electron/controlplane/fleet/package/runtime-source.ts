// Node for machines, of the npm packages that the lock file names: from node_modules where it is for this computer's
// architecture too, otherwise fetched by npm, by whose own configuration it knows from where, and checked against the lock file.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { readBytesIfExists } from '#platform/atomic-file.ts';
import type { LockedPackage, LockedRuntimes } from './locked-runtimes.ts';
import { PackageError, type RuntimeSource } from './machine-package.ts';

export { lockedRuntimes } from './locked-runtimes.ts';

const execute = promisify(execFile);
const unzip = promisify(gunzip);
const fetchMs = 300_000;

export interface NpmRuntimesDeps {
  readonly locked: LockedRuntimes;
  /** Folders in which packages may be installed. */
  readonly modules: readonly string[];
  /** Has npm fetch a package into a folder; its tarball there. */
  readonly fetch?: (wanted: string, folder: string) => Promise<string>;
}

export function npmRuntimes(deps: NpmRuntimesDeps): RuntimeSource {
  const { locked, modules, fetch = fetchByNpm } = deps;
  return {
    identity: async (architecture) => {
      const { name, version, integrity } = locked[architecture];
      return `${name}@${version} ${integrity}`;
    },
    async read(architecture) {
      const wanted = locked[architecture];
      for (const folder of modules) {
        const installed = path.join(folder, wanted.name);
        const manifest = await readBytesIfExists(path.join(installed, 'package.json'));
        const { version } = JSON.parse(manifest?.toString() ?? '{}') as { version?: string };
        const binary = await readBytesIfExists(path.join(installed, 'bin/node'));
        if (version === wanted.version && binary !== undefined) return binary;
      }
      return await fetched(wanted, fetch);
    },
  };
}

async function fetched(
  { name, version, integrity }: LockedPackage,
  fetch: NonNullable<NpmRuntimesDeps['fetch']>,
): Promise<Uint8Array> {
  const what = `${name}@${version}, the Node for machines of that kind,`;
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-runtime-'));
  try {
    const tarball = await tarballOf(`${name}@${version}`, folder, fetch).catch((cause: Error) => {
      throw new PackageError(
        `${what} could not be fetched by npm: ${cause.message.trim()}. Is this computer online? Try again then`,
        { cause },
      );
    });
    const found = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
    if (found !== integrity)
      throw new PackageError(
        `${what} is not what the lock file names: it is ${found}, and has to be ${integrity}. Nothing was kept of it`,
      );
    return await binaryIn(await unzip(tarball), what);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function tarballOf(
  wanted: string,
  folder: string,
  fetch: NonNullable<NpmRuntimesDeps['fetch']>,
): Promise<Buffer> {
  return await readFile(await fetch(wanted, folder));
}

async function binaryIn(tar: Buffer, what: string): Promise<Uint8Array> {
  const entries = Readable.from([tar]).pipe(extract());
  for await (const entry of entries) {
    const parts: Uint8Array[] = [];
    for await (const part of entry) parts.push(part as Uint8Array);
    if (entry.header.name === 'package/bin/node') return Buffer.concat(parts);
  }
  throw new PackageError(`${what} holds no bin/node`);
}

async function fetchByNpm(wanted: string, folder: string): Promise<string> {
  const args = ['pack', wanted, '--json', '--ignore-scripts', '--pack-destination', folder];
  const isWindows = process.platform === 'win32';
  const options = { timeout: fetchMs, maxBuffer: 2 ** 24, shell: isWindows, cwd: folder };
  const { stdout } = await execute(isWindows ? 'npm.cmd' : 'npm', args, options);
  const [packed] = JSON.parse(stdout) as readonly { readonly filename: string }[];
  return path.join(folder, packed?.filename ?? '');
}
