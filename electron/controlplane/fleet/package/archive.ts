// The form of a package: what `dpkg-deb -x` unpacks. An `ar` of a version, an empty control archive and a tar that is
// compressed with zstd. Nothing in it tells when or where it was made.
// Source: deb(5), ar(5).
import { promisify } from 'node:util';
import { constants, zstdCompress } from 'node:zlib';
import { pack } from 'tar-stream';

export interface ArchiveFile {
  readonly name: string;
  readonly mode: number;
  readonly data: Uint8Array;
}

const compress = promisify(zstdCompress);
/** What zstd may look back, and has to remember where it is unpacked: 128 MB is as much as dpkg allows. */
const windowLog = 27;

/** `level`: of zstd, 1 to 22. */
export async function packArchive(
  files: readonly ArchiveFile[],
  level: number,
): Promise<Uint8Array> {
  const tar = await packTar(files);
  const data = await compress(tar, {
    params: {
      [constants.ZSTD_c_compressionLevel]: level,
      [constants.ZSTD_c_windowLog]: Math.min(windowLog, Math.ceil(Math.log2(tar.length + 1024))),
      [constants.ZSTD_c_checksumFlag]: 1,
    },
  });
  const control = await packTar([]);
  const members = [
    { name: 'debian-binary', data: Buffer.from('2.0\n') },
    { name: 'control.tar', data: control },
    { name: 'data.tar.zst', data },
  ];
  return Buffer.concat([Buffer.from('!<arch>\n'), ...members.flatMap(arMember)]);
}

function arMember({ name, data }: { readonly name: string; readonly data: Uint8Array }) {
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
