// A member's files with bits flipped and ends cut off at random: the store opens with all that was
// acknowledged, or refuses with a sentence. Never anything in between.
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seededRandom } from '#kube/base/random.ts';
import { show } from '../../../test/conformance/store.ts';
import { openStoreIn } from '../../../test/setup/store.ts';
import { DamagedRowError } from './mvcc.ts';
import { StoreOpenError } from './state-file.ts';
import type { Store } from './store.ts';

const folder = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const limits = {
  segmentBytes: 32 * 1024,
  replica: { logLimits: { tailEntries: 20, stepEntries: 20 } },
};
/** As it was left: its SQLite log is not empty, its own log has several segments. */
let whole: string;
let want: unknown;

beforeAll(async () => {
  whole = mkdtempSync(path.join(folder, 'flotilla-whole-'));
  const running = path.join(whole, 'running');
  const { store, state } = await openStoreIn(running, limits);
  const random = seededRandom(1);
  for (let n = 0; n < 120; n++) {
    const value = new Uint8Array(Math.floor(random.next() ** 3 * 9_000)).fill(n);
    await store.put(`key${n}`, value, 0);
    if (n % 3 === 2) await store.delete(`key${n - 1}`, await revisionOf(store, `key${n - 1}`));
    if (n === 60) await store.compact(40);
    if (n % 40 === 39) state.flush();
  }
  await state.swept();
  want = await content(store);
  // As a crash leaves it.
  cpSync(running, path.join(whole, 'crashed'), { recursive: true });
  await store.close();
  cpSync(running, path.join(whole, 'closed'), { recursive: true });
});
afterAll(() => rmSync(whole, { recursive: true, force: true }));

async function revisionOf(store: Store, key: string): Promise<number> {
  return (await store.get(key)).kv?.modRevision ?? 0;
}

async function content(store: Store): Promise<unknown> {
  const { items, revision } = await store.list('');
  const count = await store.count('');
  const old = await store.list('', { revision: store.compactedRevision() + 5 });
  return { revision, count, items: items.map(show), old: old.items.map(show) };
}

function filesOf(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/reserve|-shm/.test(entry.name))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => readFileSync(file).length > 0)
    .toSorted();
}

/** What became of it: `whole`, or the sentence it refuses with. */
async function open(directory: string): Promise<string> {
  let fatal: unknown;
  try {
    const { store } = await openStoreIn(directory, {
      ...limits,
      mustExist: true,
      wish: { type: 'restart', name: 'one', addresses: [] },
      onFatal: (error) => (fatal ??= error),
    });
    try {
      expect(await content(store)).toEqual(want);
    } finally {
      await store.close();
    }
    return 'whole';
  } catch (error) {
    const refusal = fatal ?? error;
    if (refusal instanceof StoreOpenError || refusal instanceof DamagedRowError)
      return refusal.message;
    throw error;
  }
}

function damaged(from: string, seed: number): { directory: string; what: string } {
  const directory = mkdtempSync(path.join(folder, 'flotilla-damaged-'));
  cpSync(path.join(whole, from), directory, { recursive: true });
  const random = seededRandom(seed);
  const files = filesOf(directory);
  const file = files[Math.floor(random.next() * files.length)] ?? '';
  const data = readFileSync(file);
  const at = Math.floor(random.next() * data.length);
  const bit = Math.floor(random.next() * 8);
  const isCut = random.next() < 0.2;
  if (isCut) truncateSync(file, at);
  else writeFileSync(file, data.with(at, (data[at] ?? 0) ^ (1 << bit)));
  const how = isCut ? 'cut off' : `bit ${bit} flipped`;
  return { directory, what: `${path.relative(directory, file)} ${how} at ${at}` };
}

const seeds = Number(process.env['DAMAGE_SEEDS'] ?? 60);
const first = Number(process.env['DAMAGE_SEED'] ?? 1);

describe('files that a disk has changed', () => {
  for (const from of ['crashed', 'closed'])
    it(
      `as they are after a store was ${from}: everything is there, or a sentence`,
      { timeout: 240_000 },
      async () => {
        const outcomes = { whole: 0, refused: 0 };
        for (let seed = first; seed < first + seeds; seed++) {
          const { directory, what } = damaged(from, seed);
          try {
            const outcome = await open(directory);
            if (outcome === 'whole') outcomes.whole++;
            else {
              outcomes.refused++;
              // What happened, to which file, and what to do.
              expect(outcome).toContain(directory);
              expect(outcome).toMatch(/backup|move it away|data directory|start/);
            }
          } catch (error) {
            throw new Error(`seed ${seed}: ${what}: ${(error as Error).message}`, { cause: error });
          } finally {
            rmSync(directory, { recursive: true, force: true });
          }
        }
        expect(outcomes.refused).toBeGreaterThan(seeds / 10);
      },
    );

  it('or has lost', async () => {
    const outcomes: Record<string, string> = {};
    for (const name of ['state.db', 'member.json', 'log', 'state.db and log', 'log/log-first']) {
      const directory = mkdtempSync(path.join(folder, 'flotilla-lost-'));
      cpSync(path.join(whole, 'closed'), directory, { recursive: true });
      const [firstSegment = ''] = readdirSync(path.join(directory, 'log')).toSorted();
      for (const one of name.replace('log-first', firstSegment).split(' and '))
        rmSync(path.join(directory, one), { recursive: true });
      outcomes[name] = (await open(directory)).replaceAll(directory, 'DIR');
      rmSync(directory, { recursive: true, force: true });
    }
    expect(outcomes).toEqual({
      'state.db': expect.stringMatching(/^DIR: The log begins behind entry \d+, but the database/),
      'member.json': expect.stringMatching(/^DIR: There is a log, but member.json is missing/),
      log: expect.stringMatching(
        /^DIR: The log is gone: what this member promised to hold is lost/,
      ),
      'state.db and log': expect.stringMatching(/^DIR\/state.db is missing or empty/),
      // All that stood in it may be in the database already: then nothing is lost.
      'log/log-first': expect.stringMatching(/^whole$|^DIR: The log is damaged: log-\d+, byte 0: /),
    });
  });
});
