// Memory-backed volumes: one tmpfs per volume, mounted by the system's mount program (root only).
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Mounter {
  isMounted(path: string): Promise<boolean>;
  mountTmpfs(path: string, sizeBytes: number | undefined): Promise<void>;
  unmount(path: string): Promise<void>;
  /** Mount points under `directory`, deepest first. */
  mountsUnder(directory: string): Promise<readonly string[]>;
}

export const systemMounter: Mounter = {
  async isMounted(path) {
    return (await mountPoints()).includes(path);
  },
  async mountTmpfs(path, sizeBytes) {
    const size = sizeBytes === undefined ? [] : [`size=${sizeBytes}`];
    const options = ['mode=0777', 'nodev', 'nosuid', ...size].join(',');
    await run('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path]);
  },
  async unmount(path) {
    await run('umount', [path]);
  },
  async mountsUnder(directory) {
    const points = await mountPoints();
    return points
      .filter((point) => point.startsWith(`${directory}/`))
      .sort((a, b) => b.length - a.length);
  },
};

async function mountPoints(): Promise<string[]> {
  const text = await readFile('/proc/self/mountinfo', 'utf8');
  return text
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .map((path) =>
      path.replaceAll(/\\([0-7]{3})/g, (_, code: string) =>
        String.fromCharCode(Number.parseInt(code, 8)),
      ),
    );
}
