// The form of a package: what `dpkg-deb -x` unpacks. An `ar` of a version, an empty control archive and a compressed
// tar. Nothing in it tells when or where it was made. Compressed by this computer's xz, or, without one, by Node's
// zstd, which makes a tenth more of it and can't be unpacked by a Debian older than 12.
// Source: deb(5), ar(5).
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants as system, setPriority } from 'node:os';
import { promisify } from 'node:util';
import { constants, zstdCompress } from 'node:zlib';
import { pack } from 'tar-stream';

export interface ArchiveFile {
  readonly name: string;
  readonly mode: number;
  readonly data: Uint8Array;
}

const zstd = promisify(zstdCompress);

export async function packArchive(files: readonly ArchiveFile[]): Promise<Uint8Array> {
  const tar = await packTar(files);
  const members = [
    { name: 'debian-binary', data: Buffer.from('2.0\n') },
    { name: 'control.tar', data: await packTar([]) },
    await compressed(tar),
  ];
  return Buffer.concat([Buffer.from('!<arch>\n'), ...members.flatMap(arMember)]);
}

interface Member {
  readonly name: string;
  readonly data: Uint8Array;
}

/** `program`: for tests. */
export async function compressed(tar: Uint8Array, program = 'xz'): Promise<Member> {
  try {
    return { name: 'data.tar.xz', data: await filtered(program, ['-6', '-T0', '--stdout'], tar) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const params = {
    [constants.ZSTD_c_compressionLevel]: 19,
    // What has to be remembered where it is unpacked: 128 MB is as much as dpkg allows.
    [constants.ZSTD_c_windowLog]: 27,
    [constants.ZSTD_c_checksumFlag]: 1,
  };
  return { name: 'data.tar.zst', data: await zstd(tar, { params }) };
}

/** What a program makes of its input. */
async function filtered(
  program: string,
  args: readonly string[],
  input: Uint8Array,
): Promise<Uint8Array> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(child, 'spawn');
  // Nobody waits for it as for a page: others of this computer go first.
  if (child.pid !== undefined) setPriority(child.pid, system.priority.PRIORITY_BELOW_NORMAL);
  // One that ends early says so by its exit code.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const ended = once(child, 'exit') as Promise<[number | null]>;
  const parts: Uint8Array[] = [];
  for await (const part of child.stdout) parts.push(part as Uint8Array);
  const [code] = await ended;
  if (code !== 0) throw new Error(`${program} ended with code ${code}`);
  return Buffer.concat(parts);
}

function arMember({ name, data }: Member) {
  const fields = [
    name.padEnd(16),
    '0'.padEnd(12),
    '0'.padEnd(6),
    '0'.padEnd(6),
    '100644'.padEnd(8),
  ];
  const header = `${fields.join('')}${String(data.length).padEnd(10)}\`\n`;
  return [Buffer.from(header), data, Buffer.from(data.length % 2 === 1 ? '\n' : '')];
}

async function packTar(files: readonly ArchiveFile[]): Promise<Buffer> {
  const tar = pack();
  const owner = { uid: 0, gid: 0, mtime: new Date(0) };
  const folders = new Set(['./', ...files.flatMap(({ name }) => foldersOf(name))]);
  for (const name of folders) tar.entry({ ...owner, name, type: 'directory', mode: 0o755 });
  for (const { name, mode, data } of files)
    tar.entry({ ...owner, name: `./${name}`, mode }, Buffer.from(data));
  tar.finalize();
  const parts: Uint8Array[] = [];
  for await (const part of tar) parts.push(part as Uint8Array);
  return Buffer.concat(parts);
}

function foldersOf(name: string): string[] {
  const parts = name.split('/').slice(0, -1);
  return parts.map((_, index) => `./${parts.slice(0, index + 1).join('/')}/`);
}
