// The edge to the machine's mount programs: a program of the test's own stands for each of them, since the
// kernel that tests run on may know neither NFS nor SMB.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createMounter, type Mounter } from './mounter.ts';

let directory = '';
let mounter: Mounter;
const said = () => readFileSync(join(directory, 'said'), 'utf8').trim().split('\n');

function fakeProgram(name: string, script: string): string {
  const path = join(directory, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return path;
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'flotilla-mounter-'));
  mkdirSync(join(directory, 'sbin'));
  writeFileSync(join(directory, 'sbin/mount.nfs'), '');
  writeFileSync(join(directory, 'filesystems'), 'nodev\tnfs4\n\text4\n');
  const tell = `for word in "$0" "$@"; do printf '[%s]' "\${word##*/fake-}"; done >> ${directory}/said; echo >> ${directory}/said`;
  const refuse = 'case "$*" in *refused*) echo "access denied by server" >&2; exit 32;; esac';
  mounter = createMounter({
    mount: fakeProgram('fake-mount', `${tell}\n${refuse}`),
    umount: fakeProgram('fake-umount', `${tell}\ncase "$*" in *lazy*) ;; *) exit 32;; esac`),
    stat: fakeProgram('fake-stat', tell),
    helperFolders: [join(directory, 'sbin')],
    filesystems: join(directory, 'filesystems'),
  });
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('the mount programs', () => {
  it('get every argument as it is, whatever is in it', async () => {
    const source = 'nas:/a $(touch x); b';
    await mounter.mountNetwork('/pods/u/v', { fsType: 'nfs', source, options: ['soft', 'ro'] });
    expect(said()).toEqual([`[mount][-t][nfs][-o][soft,ro][--][${source}][/pods/u/v]`]);
  });

  it('are named with what they said when they fail', async () => {
    const mount = { fsType: 'nfs', source: 'nas:/refused', options: [] } as const;
    await expect(mounter.mountNetwork('/v', mount)).rejects.toThrow('access denied by server');
  });

  it('are missed by the name of the package that has them', async () => {
    const mount = { fsType: 'cifs', source: '//nas/x', options: [] } as const;
    await expect(mounter.mountNetwork('/v', mount)).rejects.toThrow(
      "this machine can't mount //nas/x: it has no mount.cifs; install the package cifs-utils",
    );
  });

  it("fail for want of the kernel's part, which is named", async () => {
    writeFileSync(join(directory, 'filesystems'), 'nodev\tproc\n\text4\n');
    const mount = { fsType: 'nfs', source: 'nas:/refused', options: [] } as const;
    await expect(mounter.mountNetwork('/v', mount)).rejects.toThrow(
      "this machine can't mount nas:/refused: its kernel has no nfs and no module for it",
    );
  });

  it('take a share away for good when its server does not answer', async () => {
    await mounter.unmount('/pods/u/v');
    expect(said()).toEqual([
      '[umount][--no-canonicalize][--][/pods/u/v]',
      '[umount][--no-canonicalize][--lazy][--][/pods/u/v]',
    ]);
  });
});
