// What is copied to a machine: Node for its architecture, and the agent. Each is one file in the form of a .deb that
// is never installed, only unpacked: whatever system apt runs on has what unpacks it. Both are made of what this app has, kept
// in the data directory, and known by their sha256; the same input makes the same file.
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { readBytesIfExists, writeFileAtomic } from '#platform/atomic-file.ts';
import { agentArguments, agentEnvironment } from '#platform/supervisor.ts';
import { packArchive, type ArchiveFile } from './archive.ts';
import type { Architecture } from './locked-runtimes.ts';
import { shortDigest } from './machine-paths.ts';
import { controlPlanePlacement } from './control-plane-placement.ts';
import { placement, type Program } from './placement.ts';
import { withoutSymbols } from './strip.ts';

export type { Architecture } from './locked-runtimes.ts';

export interface PackagePart {
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
}

export interface MachinePackage {
  /** `0.1.0+DIGEST`, as the Node's annotation `flotilla.dev/agent-version` tells it. */
  readonly version: string;
  readonly runtime: PackagePart;
  readonly agent: PackagePart;
}

/** It can't be made; the message says what is missing and what to do. */
export class PackageError extends Error {
  override readonly name = 'PackageError';
}

export interface PackageSource {
  readonly version: string;
  /** Folder of the built agent. */
  readonly agent: string;
  /** Where packages are kept. */
  readonly cache: string;
  readonly runtime: RuntimeSource;
}

export interface RuntimeSource {
  /** What there will be, without fetching it: the same text, the same binary. */
  identity(architecture: Architecture): Promise<string>;
  /** Node's binary for that architecture. Throws PackageError. */
  read(architecture: Architecture): Promise<Uint8Array>;
}

/** By which an agent places the next one. */
const programs: Readonly<Record<string, Program>> = {
  'check-runtime': placement.checkRuntime,
  'place-runtime': placement.placeRuntime,
  'check-agent': placement.checkAgent,
  'place-agent': placement.placeAgent,
  'try-out': placement.tryOut,
  // For a person, who runs it there as root.
  remove: placement.remove,
  'place-unit': placement.placeUnit,
  'check-control-plane': controlPlanePlacement.check,
  'place-control-plane': controlPlanePlacement.place,
  'join-control-plane': controlPlanePlacement.join,
  'use-control-plane': controlPlanePlacement.use,
  'try-out-control-plane': controlPlanePlacement.tryOut,
  'confirm-control-plane': controlPlanePlacement.confirm,
  'drop-control-plane': controlPlanePlacement.drop,
};

/** Counts up when the form of packages changes. */
const form = 1;

export async function machinePackage(
  architecture: Architecture,
  source: PackageSource,
): Promise<MachinePackage> {
  const runtime = await runtimePackage(architecture, source);
  const agent = await agentPackage(source, await source.runtime.identity(architecture));
  return { version: `${source.version}+${shortDigest(agent.sha256)}`, runtime, agent };
}

/** Of the agent alone: what the machines with it are to run. */
export async function agentVersion(
  architecture: Architecture,
  source: PackageSource,
): Promise<string> {
  const { sha256 } = await agentPackage(source, await source.runtime.identity(architecture));
  return `${source.version}+${shortDigest(sha256)}`;
}

async function runtimePackage(
  architecture: Architecture,
  source: PackageSource,
): Promise<PackagePart> {
  return cached(await runtimeFile(architecture, source), async () => {
    const binary = withoutSymbols(await source.runtime.read(architecture));
    return packArchive([{ name: 'bin/node', mode: 0o755, data: binary }]);
  });
}

/** `runtimeIdentity` is a part of it: with another Node it is another agent, which has its own trial. */
async function agentPackage(
  { agent, version, cache }: PackageSource,
  runtimeIdentity: string,
): Promise<PackagePart> {
  const names = (await readdir(agent).catch(() => [])).filter((name) => name.endsWith('.js'));
  if (!names.includes('main.js'))
    throw new PackageError(`the agent is not built: ${agent}/main.js is missing`);
  const manifest = { type: 'module', version, runtime: runtimeIdentity };
  const files: ArchiveFile[] = [
    { name: 'package.json', mode: 0o644, data: Buffer.from(JSON.stringify(manifest)) },
    { name: 'start', mode: 0o755, data: Buffer.from(startText()) },
  ];
  for (const [name, { text }] of Object.entries(programs))
    files.push({ name: `programs/${name}`, mode: 0o755, data: Buffer.from(text) });
  for (const name of names.toSorted())
    files.push({ name, mode: 0o644, data: await readFile(path.join(agent, name)) });
  const identity = createHash('sha256');
  for (const { name, data } of files) identity.update(name).update(data);
  return cached(fileOf(cache, 'agent', identity.digest('hex')), () => packArchive(files));
}

/** How the agent of this package is started: with the settings of the machine, as the supervisor of `npm start` does. */
export function startText(): string {
  const variables = Object.entries(agentEnvironment).map(([name, value]) => `${name}=${value}`);
  return `#!/bin/sh
here=$(readlink -f "$(dirname "$0")")
root=$(dirname "$here")
[ ! -e "$root/bootstrap" ] || set -- --bootstrap-kubeconfig "$root/bootstrap" "$@"
unset NODE_EXTRA_CA_CERTS SSL_CERT_FILE NODE_OPTIONS
exec env ${variables.join(' ')} "$here/runtime/bin/node" ${agentArguments.join(' ')} \\
  --disable-warning=ExperimentalWarning "$here/main.js" --data "$root/state" --node-name "$FLOTILLA_NODE_NAME" \\
  --bind 0.0.0.0 --discovery "\${FLOTILLA_DISCOVERY:-off}" --installation "$root" "$@"
`;
}

/** Where the runtime for it is kept, or will be. */
export async function runtimeFile(
  architecture: Architecture,
  { runtime, cache }: Pick<PackageSource, 'runtime' | 'cache'>,
): Promise<string> {
  return fileOf(cache, `runtime-${architecture}`, await runtime.identity(architecture));
}

/** What is made of the same input lies there already. */
export function fileOf(folder: string, kind: string, identity: string): string {
  const key = createHash('sha256').update(`${form} ${kind} ${identity}`).digest('hex');
  return path.join(folder, `${kind}-${shortDigest(key)}.deb`);
}

export async function cached(file: string, make: () => Promise<Uint8Array>): Promise<PackagePart> {
  let bytes: Uint8Array | undefined = await readBytesIfExists(file);
  if (bytes === undefined) {
    bytes = await make();
    await writeFileAtomic(file, bytes);
  }
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { file, sha256, bytes: bytes.length };
}
