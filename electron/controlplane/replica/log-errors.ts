// What can be wrong with a log, told apart because different people act on it: a damaged disk, a
// foreign or newer log, a full disk. Messages are sentences that say what to do.

/** Acknowledged entries are damaged or missing. The log is left as it is, never repaired. */
export class LogCorruptError extends Error {
  override readonly name = 'LogCorruptError';
  /** Name of the segment. */
  readonly file: string;
  readonly offset: number;

  constructor(file: string, offset: number, problem: string) {
    super(
      `The log is damaged: ${file}, byte ${offset}: ${problem}. This member can't go on from it ` +
        'without losing what it promised to hold. If other machines keep the state as well, take this ' +
        'one out of the cluster (`npm run cluster -- remove NAME`) and invite it anew. If it is the ' +
        'only one: put a backup back, or move the folder of the log away and go on from its database ' +
        '(`npm run cluster -- recover`), which may lack the last writes.',
    );
    this.file = file;
    this.offset = offset;
  }
}

/** A sound log that is not this member's, or that this release can't read. */
export class LogRefusedError extends Error {
  override readonly name = 'LogRefusedError';
}

/** The disk has no room for another segment, and nothing of the rest of the batch was written. */
export class LogFullError extends Error {
  override readonly name = 'LogFullError';
}
