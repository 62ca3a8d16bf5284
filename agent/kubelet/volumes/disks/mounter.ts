// The machine's own mount programs, for root only: memory, network shares, one folder seen at a second
// place. What is mounted is read back from /proc/self/mountinfo: nothing is remembered.
// Arguments are lists and end options with `--`; a server that does not answer holds up only who asked.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { isWithin, parseMountInfo, type MountEntry } from './mount-table.ts';
import { VolumeError } from '../payload.ts';

export interface NetworkMount {
  readonly fsType: 'nfs' | 'cifs';
  readonly source: string;
  readonly options: readonly string[];
}

export interface Mounter {
  mounts(): Promise<readonly MountEntry[]>;
  mountTmpfs(path: string, sizeBytes?: number, groupId?: number): Promise<void>;
  /** Throws VolumeError, also when the machine lacks the program for it. */
  mountNetwork(path: string, mount: NetworkMount): Promise<void>;
  /** Shows at `path` what the open file is, whatever its name leads to by now. */
  bindFile(fileDescriptor: number, path: string): Promise<void>;
  unmount(path: string): Promise<void>;
  /** Throws VolumeError when the file system does not answer: then nobody here must touch it. */
  checkAnswers(path: string): Promise<void>;
}

/** Mount points within `directory`, deepest first. */
export function mountPointsWithin(entries: readonly MountEntry[], directory: string): string[] {
  return entries
    .map(({ mountPoint }) => mountPoint)
    .filter((mountPoint) => mountPoint !== directory && isWithin(directory, mountPoint))
    .toReversed()
    .toSorted((a, b) => b.split('/').length - a.split('/').length);
}

export interface MountPrograms {
  readonly mount: string;
  readonly umount: string;
  readonly stat: string;
  /** Where mount looks for `mount.nfs` and `mount.cifs`. */
  readonly helperFolders: readonly string[];
  /** Where the kernel lists what it can mount. */
  readonly filesystems: string;
}

const systemPrograms: MountPrograms = {
  mount: 'mount',
  umount: 'umount',
  stat: 'stat',
  helperFolders: ['/sbin', '/usr/sbin', '/usr/local/sbin'],
  filesystems: '/proc/filesystems',
};

const packages = {
  nfs: 'nfs-common (Debian, Ubuntu, Raspberry Pi OS) or nfs-utils (Fedora, Arch, Alpine)',
  cifs: 'cifs-utils',
};
/** As kernels list them: what a module brings is listed once somebody tried to mount it. */
const kernelNames = { nfs: ['nfs', 'nfs4'], cifs: ['cifs', 'smb3'] };
const limitsMs = { mount: 60_000, unmount: 30_000, answer: 10_000 };

export function createMounter(programs: MountPrograms): Mounter {
  const umount = (path: string, ...flags: string[]) =>
    // Without canonicalizing it does not ask the server about the path.
    run(programs.umount, ['--no-canonicalize', ...flags, '--', path], limitsMs.unmount);
  return {
    mounts: async () => parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8')),
    async mountTmpfs(path, sizeBytes, groupId) {
      const size = sizeBytes === undefined ? [] : [`size=${sizeBytes}`];
      const owner = groupId === undefined ? ['mode=0777'] : ['mode=2777', `gid=${groupId}`];
      const options = [...owner, 'nodev', 'nosuid', ...size].join(',');
      const args = ['-t', 'tmpfs', '-o', options, '--', 'tmpfs', path];
      await run(programs.mount, args, limitsMs.mount);
    },
    async mountNetwork(path, { fsType, source, options }) {
      const helper = `mount.${fsType}`;
      if (!programs.helperFolders.some((folder) => existsSync(`${folder}/${helper}`)))
        throw new VolumeError(
          `this machine can't mount ${source}: it has no ${helper}; install the package ${packages[fsType]}`,
        );
      const given = options.length === 0 ? [] : ['-o', options.join(',')];
      try {
        await run(programs.mount, ['-t', fsType, ...given, '--', source, path], limitsMs.mount);
      } catch (error) {
        // The programs say "No such device", and nobody knows which.
        const listed = await readFile(programs.filesystems, 'utf8').catch(() => undefined);
        const known = listed?.split(/\s+/);
        if (known === undefined || kernelNames[fsType].some((name) => known.includes(name)))
          throw error;
        const kernel = `its kernel has no ${fsType} and no module for it (${programs.filesystems})`;
        throw new VolumeError(`this machine can't mount ${source}: ${kernel}`, { cause: error });
      }
    },
    async bindFile(fileDescriptor, path) {
      const source = `/proc/${process.pid}/fd/${fileDescriptor}`;
      const args = ['--no-canonicalize', '--bind', '--', source, path];
      await run(programs.mount, args, limitsMs.mount);
    },
    async unmount(path) {
      // A server that is gone must not keep a pod from ending: the containers are gone already.
      await umount(path).catch(() => umount(path, '--lazy'));
    },
    async checkAnswers(path) {
      await run(programs.stat, ['--', path], limitsMs.answer);
    },
  };
}

export const systemMounter: Mounter = createMounter(systemPrograms);

const execute = promisify(execFile);

/** A program that hangs in the kernel can't even be killed: it is no longer waited for. */
async function run(program: string, args: readonly string[], limitMs: number): Promise<void> {
  const isLate = AbortSignal.timeout(limitMs);
  const late = Promise.withResolvers<never>();
  isLate.addEventListener('abort', () => late.reject(new Error(`no answer within ${limitMs} ms`)));
  const options = { timeout: limitMs, killSignal: 'SIGKILL', env: { ...process.env, LC_ALL: 'C' } };
  try {
    await Promise.race([execute(program, args, options as object), late.promise]);
  } catch (error) {
    const { stderr = '', killed = false } = error as { stderr?: string; killed?: boolean };
    const why = killed ? `no answer within ${limitMs} ms` : stderr.trim();
    const message = why === '' ? (error as Error).message : why;
    throw new VolumeError(`${program} ${args.join(' ')}: ${message}`, { cause: error });
  }
}
