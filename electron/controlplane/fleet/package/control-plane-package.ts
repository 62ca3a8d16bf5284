// The third file of a machine's package, for those that become members: the control plane, the page it serves, the
// agents it hands out, and SQLite for both architectures, so that one file is for all. In the form of the other two; the
// same input makes the same file. A control plane that came as such a file hands out that very file.
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { readBytesIfExists } from '#platform/atomic-file.ts';
import { allocatorEnvironment, heapArguments } from '#platform/supervisor.ts';
import { controlPlanePorts } from '#kube/machinery/control-planes.ts';
import { packArchive, type ArchiveFile } from './archive.ts';
import { shortDigest } from './machine-paths.ts';
import { cached, fileOf, PackageError, type PackagePart } from './machine-package.ts';

export interface ControlPlaneSource {
  readonly version: string;
  /** Folder with `controlplane`, `renderer` and `agent` as they were built. */
  readonly built: string;
  /** Folders in which npm packages may be installed. */
  readonly modules: readonly string[];
  /** Where packages are kept. */
  readonly cache: string;
  /** Undefined: this one was not placed as a package. */
  readonly ownFile: string | undefined;
}

export interface ControlPlanePackage {
  /** `0.1.0+DIGEST`. */
  readonly version: string;
  readonly part: PackagePart;
}

const sqlite = 'better-sqlite3';
const sqliteFiles = /^(package\.json|lib\/.*\.js|prebuilds\/linux-(x64|arm64)\.node)$/;

/** Throws PackageError. */
export async function controlPlanePackage(
  source: ControlPlaneSource,
): Promise<ControlPlanePackage> {
  const { ownFile } = source;
  const part = ownFile === undefined ? await madePart(source) : await ownPart(ownFile);
  return { version: `${source.version}+${shortDigest(part.sha256)}`, part };
}

async function ownPart(file: string): Promise<PackagePart> {
  const bytes = await readBytesIfExists(file);
  if (bytes === undefined)
    throw new PackageError(`this control plane's own package is missing: ${file}`);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { file, sha256, bytes: bytes.length };
}

async function madePart(source: ControlPlaneSource): Promise<PackagePart> {
  const files = await filesOf(source);
  const identity = createHash('sha256');
  for (const { name, data } of files) identity.update(name).update(data);
  const file = fileOf(source.cache, 'controlplane', identity.digest('hex'));
  return cached(file, () => packArchive(files));
}

async function filesOf({ version, built, modules }: ControlPlaneSource): Promise<ArchiveFile[]> {
  const manifest = JSON.stringify({ type: 'module', version });
  return [
    { name: 'package.json', mode: 0o644, data: Buffer.from(manifest) },
    { name: 'start', mode: 0o755, data: Buffer.from(controlPlaneStart()) },
    ...(await folder(built, 'controlplane', 'main.js')),
    ...(await folder(built, 'renderer', 'index.html')),
    ...(await folder(built, 'agent', 'main.js')),
    ...(await sqliteIn(modules)),
  ];
}

/** All but source maps. */
async function folder(built: string, name: string, mustHave: string): Promise<ArchiveFile[]> {
  const files = await read(path.join(built, name), `${name}/`, /(?<!\.map)$/);
  if (files.some((file) => file.name === `${name}/${mustHave}`)) return files;
  throw new PackageError(
    `the control plane is not built: ${path.join(built, name, mustHave)} is missing`,
  );
}

async function sqliteIn(modules: readonly string[]): Promise<ArchiveFile[]> {
  for (const one of modules) {
    const files = await read(path.join(one, sqlite), `node_modules/${sqlite}/`, sqliteFiles);
    if (files.filter(({ name }) => name.endsWith('.node')).length === 2) return files;
  }
  throw new PackageError(
    `${sqlite} for x64 and arm64 is not in ${modules.join(', ')}: run \`npm install\``,
  );
}

async function read(from: string, prefix: string, wanted: RegExp): Promise<ArchiveFile[]> {
  const entries = await readdir(from, { recursive: true, withFileTypes: true }).catch(() => []);
  const names = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(from, path.join(entry.parentPath, entry.name)))
    .filter((name) => wanted.test(name))
    .toSorted();
  const one = async (name: string): Promise<ArchiveFile> => ({
    name: `${prefix}${name}`,
    mode: 0o644,
    data: await readFile(path.join(from, name)),
  });
  return Promise.all(names.map(one));
}

/** What it says goes where its agent reads it; what a person should know is its last line. */
export function controlPlaneStart(): string {
  const variables = Object.entries(allocatorEnvironment).map(([name, value]) => `${name}=${value}`);
  const { api, ui, member } = controlPlanePorts;
  return `#!/bin/sh
umask 077
here=$(readlink -f "$(dirname "$0")")
folder=$(dirname "$here")
[ ! -e "$folder/invitation" ] || set -- --join "$folder/invitation" "$@"
unset NODE_EXTRA_CA_CERTS SSL_CERT_FILE NODE_OPTIONS
exec env ${variables.join(' ')} "$here/runtime/bin/node" ${heapArguments.join(' ')} \\
  --disable-warning=ExperimentalWarning "$here/controlplane/main.js" --data "$folder/state" --no-agent \\
  --node-name "$FLOTILLA_NODE_NAME" --bind-address 0.0.0.0 --port ${api} --ui-port ${ui} \\
  --member-address 0.0.0.0:${member} --package "$here.deb" "$@" 2> "$folder/said"
`;
}
