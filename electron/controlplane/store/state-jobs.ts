// What the thread of state-thread.ts does. Each job opens what it needs and closes it again.
import { closeSync, fsyncSync, openSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { unreachable } from '#kube/base/assert.ts';
import type { Failpoint } from '#platform/failpoints.ts';
import { openDatabase, sqliteFailure } from '#platform/sqlite.ts';
import { checkRows } from './state-file.ts';
import { noteReceived, verifyCopy } from './state-copy.ts';

export type StateJob =
  /** Makes all that is committed in `file` survive a power cut, and moves it out of its log. */
  | { readonly type: 'sync'; readonly file: string }
  /** Writes a copy of `file` as it is now to `to`, which does not exist, durably. */
  | { readonly type: 'copy'; readonly file: string; readonly to: string }
  /** Checks a received copy to its last byte, notes that it was received, and makes it durable. */
  | {
      readonly type: 'verify';
      readonly file: string;
      readonly index: number;
      readonly term: number;
    }
  /** Checks some rows behind this one to their last byte. */
  | { readonly type: 'check'; readonly file: string; readonly after: number };

export interface StateAnswer {
  /** Of a `check`: behind which row the next one goes on; absent at the end. */
  readonly next?: number;
  readonly error?: string;
  /** The error is that the disk is full. */
  readonly isFull?: boolean;
}

function work(job: StateJob, failpoint: Failpoint | undefined): StateAnswer {
  switch (job.type) {
    case 'sync': {
      // First the log itself: a checkpoint only syncs what it moves, and a reader may hold it back.
      syncFile(`${job.file}-wal`);
      failpoint?.('state:log-synced');
      const database = openDatabase(job.file);
      try {
        database.pragma('wal_checkpoint(PASSIVE)');
        failpoint?.('state:checkpointed');
      } catch (error) {
        // What is committed is durable in the log; it is moved when there is room again.
        if (sqliteFailure(error) !== 'full') throw error;
      } finally {
        database.close();
      }
      return {};
    }
    case 'copy': {
      const database = openDatabase(job.file, { isReadOnly: true });
      try {
        database.prepare('VACUUM INTO ?').run(job.to);
      } finally {
        database.close();
      }
      syncFile(job.to);
      return {};
    }
    case 'verify':
      verifyCopy(job.file, job);
      noteReceived(job.file);
      syncFile(job.file);
      return {};
    case 'check': {
      const database = openDatabase(job.file, { isReadOnly: true });
      try {
        const next = checkRows(database, job.after);
        return next === undefined ? {} : { next };
      } finally {
        database.close();
      }
    }
    default:
      return unreachable(job);
  }
}

function syncFile(file: string): void {
  const descriptor = openSync(file, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Of this thread, until it is told to end. */
export function serveStateJobs(failpoint?: Failpoint): void {
  /** state-thread.ts waits for it. */
  const finished = workerData as Int32Array;
  parentPort?.on('message', (job: StateJob | 'end') => {
    if (job === 'end') {
      parentPort?.close();
      return;
    }
    let answer: StateAnswer = {};
    try {
      answer = work(job, failpoint);
    } catch (error) {
      const isFull = sqliteFailure(error) === 'full';
      answer = { error: error instanceof Error ? error.message : String(error), isFull };
    }
    parentPort?.postMessage(answer);
    Atomics.add(finished, 0, 1);
    Atomics.notify(finished, 0);
  });
}
