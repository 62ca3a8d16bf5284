// The real Disk: one directory, for its owner alone. Writes are synchronous to the disk (O_DSYNC)
// but never hold up the event loop; a rename is followed by a flush of the directory.
// Errors keep their code; none is retried.
import {
  close,
  closeSync,
  constants,
  fstatSync,
  fsync,
  fsyncSync,
  mkdirSync,
  open,
  openSync,
  readFileSync,
  readdirSync,
  rename,
  unlinkSync,
  write,
} from 'node:fs';
import path from 'node:path';
import type { Disk, DiskFile } from './types.ts';

type Done = (error?: Error) => void;

/** Windows knows neither flag; libuv has a number of its own for writing through. */
const windowsWriteThrough = 0x04000000;
const isWindows = (constants.O_DIRECTORY as number | undefined) === undefined;
const openFlags =
  constants.O_RDWR |
  constants.O_CREAT |
  ((constants.O_DSYNC as number | undefined) ?? windowsWriteThrough);

/** Makes the directory when it is missing, mode 0700. Its files have mode 0600. */
export function openDisk(directory: string): Disk {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const at = (name: string): string => path.join(directory, name);
  return {
    list() {
      if (!isWindows) flushNow(directory);
      return readdirSync(directory);
    },
    read(name) {
      flushNow(at(name));
      return readFileSync(at(name));
    },
    open: (name) => openFile(at(name)),
    rename(from, to, done) {
      rename(at(from), at(to), (error) => {
        if (error === null) flushDirectory(directory, done);
        else done(error);
      });
    },
    remove: (name) => unlinkSync(at(name)),
  };
}

/** Whether an error of a Disk says that there is no space left, also by a quota. */
export function isDiskFull(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOSPC' || code === 'EDQUOT';
}

function openFile(file: string): DiskFile {
  const descriptor = openSync(file, openFlags, 0o600);
  return {
    write: (bytes, offset, done) => writeWhole(descriptor, bytes, offset, done),
    sizeBytes: () => fstatSync(descriptor).size,
    close: () => closeSync(descriptor),
  };
}

function writeWhole(descriptor: number, bytes: Uint8Array, offset: number, done: Done): void {
  write(descriptor, bytes, 0, bytes.length, offset, (error, count) => {
    if (error !== null) done(error);
    else if (count === bytes.length) done();
    else writeWhole(descriptor, bytes.subarray(count), offset + count, done);
  });
}

/** A file or directory, holding everything up. */
function flushNow(file: string): void {
  const descriptor = openSync(file, isWindows ? constants.O_RDWR : constants.O_RDONLY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Makes renames, new names and removals durable. Windows can't, and needs no such flush. */
function flushDirectory(directory: string, done: Done): void {
  if (isWindows) return done();
  open(directory, constants.O_RDONLY, (error, descriptor) => {
    if (error !== null) return done(error);
    fsync(descriptor, (flushError) => {
      close(descriptor, () => done(flushError ?? undefined));
    });
  });
}
