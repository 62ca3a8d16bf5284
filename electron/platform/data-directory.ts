// The directory that holds everything: made when it is missing, and every way in which it can't be
// used told as one sentence for a person. Used by the launcher and the desktop app before anything
// else, and by the control plane for what shows only later. Knows SQLite's errors by their code
// alone: in Electron's main process the native module must not be loaded.
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';

/** Its message is a sentence that says what to do. */
export class DataDirectoryError extends Error {
  override readonly name = 'DataDirectoryError';
}

/** Makes the directory if need be. Throws DataDirectoryError. */
export function openDataDirectory(directory: string): void {
  try {
    makeFolders(directory);
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const known = dataDirectoryError(error, directory);
    if (known !== undefined || (error as NodeJS.ErrnoException).code !== 'ENOENT')
      throw known ?? error;
    throw new DataDirectoryError(
      `The folder ${directory} can't be made where it lies: choose another with --data.`,
      { cause: error },
    );
  }
}

/** Node's own recursive mkdir never returns where no folder can be made, such as below /proc. */
function makeFolders(folder: string): void {
  if (existsSync(folder)) return void mkdirSync(folder, { recursive: true });
  const above = dirname(folder);
  if (above !== folder) makeFolders(above);
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    // Another start may have been faster.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !existsSync(folder)) throw error;
  }
}

/** The sentence in an error of the file system or of SQLite; undefined when there is none. */
export function dataDirectoryError(
  error: unknown,
  directory: string,
): DataDirectoryError | undefined {
  if (error instanceof DataDirectoryError) return error;
  const sentence = sentenceOf(causeOf(error, directory), directory);
  return sentence === undefined ? undefined : new DataDirectoryError(sentence, { cause: error });
}

export function fullDisk(directory: string): DataDirectoryError {
  return new DataDirectoryError(
    `The disk that holds the data directory ${directory} is full: free some space, then start again.`,
  );
}

function sentenceOf(code: string | undefined, directory: string): string | undefined {
  switch (code) {
    case 'EACCES':
    case 'EPERM':
    case 'SQLITE_CANTOPEN':
    case 'SQLITE_PERM':
      return `The data directory ${directory} can't be read and written by this user: give it to this user (chown -R), or choose another with --data.`;
    case 'EROFS':
    case 'SQLITE_READONLY':
      return `The data directory ${directory} lies on a disk that is read-only: choose another with --data.`;
    case 'ENOSPC':
    case 'EDQUOT':
    case 'SQLITE_FULL':
      return fullDisk(directory).message;
    case 'ENOTDIR':
    case 'EEXIST':
      return `${directory} is not a directory: choose another with --data.`;
    default:
      return undefined;
  }
}

function causeOf(error: unknown, directory: string): string | undefined {
  const { code } = error as NodeJS.ErrnoException;
  // Node's recursive mkdir says so for a folder it may not make on a read-only disk.
  if (code === 'ENOENT') return whyNotMade(dirname(directory));
  // Extended codes (SQLITE_READONLY_DIRECTORY) begin with the primary one.
  return /^SQLITE_[A-Z]+/.exec(code ?? '')?.[0] ?? code;
}

/** Asks the nearest folder that exists. */
function whyNotMade(folder: string): string | undefined {
  try {
    accessSync(folder, constants.W_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const isTop = dirname(folder) === folder;
    return code === 'ENOENT' && !isTop ? whyNotMade(dirname(folder)) : code;
  }
}
