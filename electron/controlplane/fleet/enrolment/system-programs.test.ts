import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bootLineText } from './system-programs.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-boot-'));
  file = path.join(folder, 'cmdline.txt');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function edit(): void {
  execFileSync('sh', ['-c', bootLineText, 'sh', file], { stdio: 'pipe' });
}

const stock = 'console=tty1 root=PARTUUID=4e63 rootfstype=ext4 rootwait quiet';
const added = 'cgroup_memory=1 cgroup_enable=memory';

describe.runIf(process.platform === 'linux')("a Raspberry Pi's boot line", () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['the stock one', `${stock}\n`, `${stock} ${added}\n`],
    ['without a line end', stock, `${stock} ${added}\n`],
    ["with Windows' line end", `${stock}\r\n`, `${stock} ${added}\n`],
    ['switched off', `cgroup_disable=memory ${stock}\n`, `${stock} ${added}\n`],
    ['half done', `${stock} cgroup_enable=memory\n`, `${stock} ${added}\n`],
    ['with a word that a shell would fill in', `${stock} a=*\n`, `${stock} a=* ${added}\n`],
    [
      'with a second line, which the kernel never reads',
      `${stock}\ncgroup_enable=memory\n`,
      `${stock} ${added}\ncgroup_enable=memory\n`,
    ],
  ];
  it.each(cases)('%s', (_name, before, after) => {
    writeFileSync(file, before);
    edit();
    expect(readFileSync(file, 'utf8')).toBe(after);
    expect(readFileSync(`${file}.before-flotilla`, 'utf8')).toBe(before);
    edit();
    expect(readFileSync(file, 'utf8')).toBe(after);
    expect(readFileSync(`${file}.before-flotilla`, 'utf8')).toBe(before);
    expect(readdirSync(folder).toSorted()).toEqual(['cmdline.txt', 'cmdline.txt.before-flotilla']);
  });

  it('one that is none is left as it is', () => {
    writeFileSync(file, '\nsomething else\n');
    expect(edit).toThrow(/does not begin with the line of a kernel/);
    expect([readFileSync(file, 'utf8'), readdirSync(folder)]).toEqual([
      '\nsomething else\n',
      ['cmdline.txt'],
    ]);
  });
});
