import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DataDirectoryError, dataDirectoryError, openDataDirectory } from './data-directory.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-directory-'));
});
afterEach(() => {
  chmodSync(folder, 0o700);
  rmSync(folder, { recursive: true });
});

describe('a data directory', () => {
  it('is made with the folders above it, for its owner alone', () => {
    const directory = path.join(folder, 'a/b');
    openDataDirectory(directory);
    openDataDirectory(directory);
    expect((statSync(directory).mode & 0o777).toString(8)).toBe('700');
  });

  it('that is a file, or below one, is refused with a sentence', () => {
    const file = path.join(folder, 'file');
    writeFileSync(file, '');
    for (const directory of [file, path.join(file, 'data')])
      expect(() => openDataDirectory(directory)).toThrow(
        new DataDirectoryError(`${directory} is not a directory: choose another with --data.`),
      );
  });
});

describe.runIf(process.platform === 'linux')('where no folder can be made', () => {
  it('a data directory is refused with a sentence', () => {
    expect(() => openDataDirectory('/proc/flotilla/data')).toThrow(
      new DataDirectoryError(
        "The folder /proc/flotilla/data can't be made where it lies: choose another with --data.",
      ),
    );
  });
});

describe('the sentence for an error', () => {
  const unusable = `The data directory /data can't be read and written by this user: give it to this user (chown -R), or choose another with --data.`;
  const full =
    'The disk that holds the data directory /data is full: free some space, then start again.';
  const readOnly =
    'The data directory /data lies on a disk that is read-only: choose another with --data.';
  const cases = [
    { code: 'EACCES', want: unusable },
    { code: 'EPERM', want: unusable },
    { code: 'SQLITE_CANTOPEN', want: unusable },
    { code: 'ENOSPC', want: full },
    { code: 'EDQUOT', want: full },
    { code: 'SQLITE_FULL', want: full },
    { code: 'EROFS', want: readOnly },
    { code: 'SQLITE_READONLY_DIRECTORY', want: readOnly },
    { code: 'EMFILE', want: undefined },
    { code: 'SQLITE_CORRUPT', want: undefined },
  ];
  it.each(cases)('$code', ({ code, want }) => {
    const error = Object.assign(new Error('failed'), { code });
    expect(dataDirectoryError(error, '/data')?.message).toBe(want);
  });

  it('that has its sentence already is that sentence', () => {
    const error = new DataDirectoryError('a sentence');
    expect(dataDirectoryError(error, '/data')).toBe(error);
  });
});
