// Mistakes in the driver and the log.
import type { Mutation, NamedTest, Simulation } from './mutation.ts';

const replica = 'electron/controlplane/replica';

function test(file: string, named: string): NamedTest {
  return { test: `${replica}/${file}.test.ts`, named };
}

function sim(seeds: string, rule: string): Simulation {
  return { seeds, rule };
}

const driver: readonly Mutation[] = [
  {
    name: 'leave the write in the cache of the kernel',
    file: `${replica}/disk.ts`,
    find: '((constants.O_DSYNC as number | undefined) ?? windowsWriteThrough)',
    replace: '(isWindows ? windowsWriteThrough : 0)',
    caughtBy: test('disk', 'has each write on the disk before it is done'),
  },
  {
    name: 'skip the fsync: promise while the disk still writes',
    file: `${replica}/duties.ts`,
    find: 'this.#deps.log.write(batch, (error) => {',
    replace:
      'for (const message of write.promises.splice(0)) this.#deps.send(message);\n    this.#deps.log.write(batch, (error) => {',
    caughtBy: sim('1-60', 'promises are durable'),
  },
  {
    name: 'answer before persist',
    file: `${replica}/duties.ts`,
    find: 'this.#deps.log.write(batch, (error) => {',
    replace: 'this.#deps.persisted(write.writeId);\n    this.#deps.log.write(batch, (error) => {',
    caughtBy: test('replica', 'applies and answers nothing that is not durable'),
  },
  {
    name: 'a promise does not wait for the write before it',
    file: `${replica}/duties.ts`,
    find: 'const write = this.#next ?? this.#current;',
    replace: 'const write = this.#next;',
    caughtBy: test(
      'duties',
      'keep a promise without a write of its own until the writes before it are durable',
    ),
  },
  {
    name: 'forget the vote on disk',
    file: `${replica}/duties.ts`,
    find: 'if (ready.hardState !== undefined) this.#hardState = ready.hardState;',
    replace:
      'if (ready.hardState !== undefined) this.#hardState = { ...ready.hardState, vote: 0 };',
    caughtBy: sim('1-60', 'promises are durable'),
  },
  {
    name: 'write entries that were cut off meanwhile',
    file: `${replica}/duties.ts`,
    find: 'return [...entries.slice(0, Math.max(0, next.index - first.index)), ...more];',
    replace: 'return [...entries, ...more];',
    caughtBy: test(
      'duties',
      'write together what came meanwhile: the newest hard state, entries cut off left out',
    ),
  },
  {
    name: 'note a snapshot in the log before the state has it',
    file: `${replica}/duties.ts`,
    find: 'if (write.received === undefined) return this.#write(write);',
    replace: 'return this.#write(write);',
    caughtBy: test(
      'duties',
      'install a snapshot before the log says so, and leave out what it makes void',
    ),
  },
  {
    name: 'go on after a failed write',
    file: `${replica}/duties.ts`,
    find: 'else if (!(error instanceof LogFullError)) this.#deps.onFatal(error);',
    replace: 'else if (!(error instanceof LogFullError)) this.#finish(write);',
    caughtBy: test('duties', 'stop at a failed write: no promise leaves'),
  },
  {
    name: 'make up for missed ticks',
    file: `${replica}/ticker.ts`,
    find: 'if (tookMs > expectedMs + this.#deps.pauseMs) this.#deps.onResumed();\n      else this.#deps.onTick();',
    replace: 'for (let ms = tookMs; ms > 0; ms -= expectedMs) this.#deps.onTick();',
    caughtBy: test(
      'replica-group',
      'is given up after a pause, which the wall clock tells when the other clock stood still',
    ),
  },
  {
    name: 'the log forgets what the state does not hold durably',
    file: `${replica}/log-keeper.ts`,
    find: 'const countMax = Math.min(held, durable - this.#first + 1);',
    replace: 'const countMax = held;',
    caughtBy: test('log-keeper', 'keeps all that is not durable, however long that is'),
  },
  {
    name: 'a read shares a question that was asked before it',
    file: `${replica}/reads.ts`,
    find: 'this.#queue.push({ deadlineMs, resolve, reject });',
    replace: '(this.#asked?.waiting ?? this.#queue).push({ deadlineMs, resolve, reject });',
    caughtBy: sim('1-200', 'history'),
  },
  {
    name: 'read from a state that is not there yet',
    file: `${replica}/reads.ts`,
    find: 'first !== undefined && first.index <= index;',
    replace: 'first !== undefined;',
    caughtBy: sim('1-100', 'history'),
  },
  {
    name: 'call an unknown outcome a refusal',
    file: `${replica}/proposals.ts`,
    find: 'this.#remove(id)?.reject(new ProposalUnknownError(sentence));',
    replace: 'this.#remove(id)?.reject(new ReplicaUnavailableError(sentence));',
    caughtBy: sim('1-100', 'history'),
  },
  {
    name: 'number proposals from 0 at each start',
    file: `${replica}/proposals.ts`,
    find: 'this.#number = numberIn(random.bytes(6), 0);',
    replace: 'this.#number = 0;',
    caughtBy: test(
      'replica',
      'numbers its proposals so that those of a run before are not met again',
    ),
  },
  {
    name: "wait for nobody's state when it was replaced",
    file: `${replica}/replica.ts`,
    find: 'this.#proposals.stateReplaced();',
    replace: '',
    caughtBy: test('replica-group', 'does not know the outcome of what it had proposed before'),
  },
  {
    name: 'take a snapshot of who does not lead',
    file: `${replica}/catch-up.ts`,
    find: 'if (this.#isEnded || this.#deps.leader() !== from) {',
    replace: 'if (this.#isEnded) {',
    caughtBy: test('replica-group', 'throws away what comes from somebody who does not lead'),
  },
  {
    name: 'give a vote to who lags',
    file: `${replica}/membership-changes.ts`,
    find: 'const caughtUpShare = 0.9;',
    replace: 'const caughtUpShare = 0;',
    caughtBy: test('membership-changes', 'one that holds less may not'),
  },
];

const log: readonly Mutation[] = [
  {
    name: 'take any bytes for a frame',
    file: `${replica}/log-codec.ts`,
    find: 'if (crc32(frame.subarray(frameHeaderBytes), key.seed) !== frame.readUInt32LE(16)) {',
    replace: 'if (frame.length === 0) {',
    caughtBy: test(
      'log-damage',
      'anywhere in what was written is refused or harmless: no entry is lost or changed',
    ),
  },
  {
    name: "take what a recycled segment held before for today's",
    file: `${replica}/log-codec.ts`,
    find: 'return { sequence: header.sequence, seed: crc32(bytes, crc32(header.salt)) };',
    replace: 'return { sequence: 0 * bytes.length, seed: 0 };',
    caughtBy: test(
      'log-damage',
      'in a segment that is used again is told from what the segment held before',
    ),
  },
  {
    name: 'call a torn middle an end',
    file: `${replica}/log-recovery.ts`,
    find: 'if (hasFrame(bytes, key, later))',
    replace: 'if (later < 0)',
    caughtBy: test(
      'log-damage',
      'a record in the middle that is broken, wholly lost, or the last of its segment',
    ),
  },
  {
    name: 'do not notice a lost last record',
    file: `${replica}/log-recovery.ts`,
    find: 'if (want === before.end) return;',
    replace: 'if (want >= 0) return;',
    caughtBy: test(
      'log-damage',
      'a record in the middle that is broken, wholly lost, or the last of its segment',
    ),
  },
  {
    name: 'find entries again that were replaced',
    file: `${replica}/log-recovery.ts`,
    find: 'entries.length = kept;',
    replace: '',
    caughtBy: test(
      'log-storage',
      'forgets what an entry with an earlier index replaces, across segments and restarts',
    ),
  },
  {
    name: 'write a commit ahead of what a split batch has written',
    file: `${replica}/log-storage.ts`,
    find: 'const commit = Math.min(this.#hardState.commit, lastIndex);',
    replace: 'const { commit } = this.#hardState;',
    caughtBy: test(
      'log-storage',
      'a batch larger than a segment is split, with no commit ahead of what is there',
    ),
  },
  {
    name: 'use a segment again that still counts',
    file: `${replica}/log-storage.ts`,
    find: 'this.#segments.release(start.index);',
    replace: 'this.#segments.release(lastIndex);',
    caughtBy: sim('1-100', 'no member fails'),
  },
];

const membership: readonly Mutation[] = [
  {
    name: "let a member's key on another disk in",
    file: `${replica}/announcements.ts`,
    find: 'if (incarnation !== undefined && incarnation !== claim.incarnation)',
    replace: "if (incarnation === 'never')",
    caughtBy: sim('1-160', 'committed by a majority'),
  },
  {
    name: 'let a log in that ends before what was acknowledged',
    file: `${replica}/announcements.ts`,
    find: 'if (claim.lastIndex >= acknowledged.index) return undefined;',
    replace: 'if (claim.lastIndex >= 0) return undefined;',
    caughtBy: test('peer-handshake', 'with less than it acknowledged: lost-data'),
  },
  {
    name: 'take a log that a newer leader has shortened for a loss',
    file: `${replica}/announcements.ts`,
    find: 'if (acknowledged === undefined || claim.term > acknowledged.term) return undefined;',
    replace: 'if (acknowledged === undefined) return undefined;',
    caughtBy: test(
      'peer-handshake',
      'is welcome when a newer leader had it give entries up: welcome',
    ),
  },
  {
    name: 'count what the greeting process itself has acknowledged',
    file: `${replica}/peer-transport.ts`,
    find: 'this.runs.get(peer) === run ? undefined :',
    replace: 'this.runs.get(peer) === undefined ? undefined :',
    caughtBy: test(
      'peer-transport',
      'to nobody for what was acknowledged by the process that greets',
    ),
  },
  {
    name: 'forget who was removed',
    file: 'electron/controlplane/raft/membership.ts',
    find: 'return { members, removed };\n}\n\nexport function votersOf',
    replace: 'return { members };\n}\n\nexport function votersOf',
    caughtBy: test('replica-group', 'adds nobody who was removed'),
  },
  {
    name: 'note another disk in the place of the first',
    file: `${replica}/announcements.ts`,
    find: 'const { incarnation = said.incarnation } = member;',
    replace: 'const { incarnation } = said;',
    caughtBy: test(
      'replica-group',
      'keeps what members say of themselves, and of each disk only the first',
    ),
  },
  {
    name: 'go on from a state that is ahead of a log put back from an older backup',
    file: `${replica}/bootstrap.ts`,
    find: 'if (installedIndex !== index) throw logIsOlder(recovered, applied);',
    replace: '',
    caughtBy: test(
      'bootstrap',
      'refuses a state that is no snapshot, ahead of the log, of its term',
    ),
  },
];

export const replicaMutations: readonly Mutation[] = [...driver, ...log, ...membership];
