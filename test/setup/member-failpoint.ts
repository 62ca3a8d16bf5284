// What a member's process that is going to be killed leaves to the test that kills it: lines in a
// file, since what it has not yet written to a pipe dies with it. And the failpoint that is armed,
// by a variable that only the tests' own programs read.
import { appendFileSync } from 'node:fs';
import { failpointFrom, type Failpoint } from '#platform/failpoints.ts';

export const failpointVariable = 'FLOTILLA_TEST_FAILPOINT';
export const reportVariable = 'FLOTILLA_TEST_REPORT';

export function report(line: object): void {
  appendFileSync(process.env[reportVariable] ?? '', `${JSON.stringify(line)}\n`);
}

/** Says where it is, then nothing any more: as `kill -9` at that place. */
export function armedFailpoint(): Failpoint | undefined {
  return failpointFrom(process.env[failpointVariable], (at) => {
    report({ at });
    process.kill(process.pid, 'SIGKILL');
  });
}
