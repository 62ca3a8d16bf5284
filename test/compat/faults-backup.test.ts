// Backups and full disks: where a copy is made, where it is written to, where it is put back.
import { existsSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../setup/cluster.ts';
import { clusterCommand } from '../setup/members.ts';
import { SmallDisk } from '../setup/small-disk.ts';

describe('a full disk', () => {
  const disk = new SmallDisk(96);
  const other = new SmallDisk(24);
  const dataDirectory = path.join(disk.directory, 'data');
  let cluster: Cluster;
  const backup = (file: string) => clusterCommand('backup', file, '--data', dataDirectory);
  beforeAll(async () => {
    cluster = await new Cluster(['--no-agent'], dataDirectory).start();
    await cluster.kubectlOk('create', 'configmap', 'kept');
    // More than the store holds in reserve.
    const big = path.join(other.directory, 'big');
    writeFileSync(big, 'x'.repeat(900 * 1024));
    for (let i = 0; i < 10; i++)
      await cluster.kubectlOk('create', 'configmap', `big-${i}`, `--from-file=${big}`);
    rmSync(big);
  });
  afterAll(async () => {
    await cluster.destroy();
    disk.destroy();
    other.destroy();
  });

  it('below the state: a backup is refused, nothing else changes, and it is made when there is room', async () => {
    const file = path.join(other.directory, 'copy');
    disk.fill();
    const refused = await backup(file);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('free some space')]);
    expect(readdirSync(path.dirname(file))).toEqual([]);
    expect(await cluster.kubectlOk('get', 'configmap', 'kept', '-o', 'name')).toBe(
      'configmap/kept\n',
    );
    disk.free();
    expect(await backup(file)).toMatchObject({ code: 0, stderr: '' });
    // For the next ones.
    renameSync(file, path.join(other.directory, 'whole'));
  });

  it('below the backup: it is said which file, and nothing of it is left', async () => {
    other.fill();
    const file = path.join(other.directory, 'second');
    const refused = await backup(file);
    expect([refused.code, refused.stderr.split('\n')]).toEqual([
      1,
      [expect.stringMatching(/second can't be written: ENOSPC/), ''],
    ]);
    expect(readdirSync(other.directory).toSorted()).toEqual(['filler', 'whole']);
  });

  it('below the directory it is put into: nothing is left that is taken for a state', async () => {
    const whole = path.join(other.directory, 'whole');
    const target = path.join(other.directory, 'target');
    other.fill();
    const refused = await clusterCommand('restore', whole, '--data', target);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('is full')]);
    expect(existsSync(path.join(target, 'store/state.db'))).toBe(false);
  });
});
