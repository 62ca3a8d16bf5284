// What no simulated disk and no killed process can show: that the kernel was asked to write through.
import { constants, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDisk } from './disk.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-disk-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** As the kernel knows them (octal), of whichever descriptor of this process has the file open. */
function openFlagsOf(file: string): number {
  for (const descriptor of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${descriptor}`) !== file) continue;
    } catch {
      // The one the folder was read by.
      continue;
    }
    const info = readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8');
    return Number.parseInt(/^flags:\s*(\d+)$/m.exec(info)?.[1] ?? '', 8);
  }
  throw new Error(`${file} is not open`);
}

describe.runIf(process.platform === 'linux')('the disk of the log', () => {
  it('has each write on the disk before it is done', () => {
    const file = openDisk(folder).open('segment');
    try {
      expect(openFlagsOf(path.join(folder, 'segment')) & constants.O_DSYNC).toBe(constants.O_DSYNC);
    } finally {
      file.close();
    }
  });
});
