// `npm run sim -- --seed N [--trace]` replays one seed; `--seeds A-B` runs many, `--workers N` at a
// time, `--until-broken` no more than needed. Prints what was broken and by which seed, and ends with
// 1 then. Of every hundredth seed the digest must be the same twice. `--all-storms`: every misfortune
// must have come about.
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { add, happenings, missing, type Happening, type Tally } from './happenings.ts';
import { simulate, type SeedResult, type Trace } from './simulation.ts';

const usage = 'npm run sim -- --seed N [--trace] | --seeds A-B [--workers N] [--all-storms]\n';
const replayEvery = 100;

interface Totals {
  seeds: number;
  steps: number;
  calls: number;
  broken: number;
  readonly tally: Map<Happening, number>;
}

/** As `simulate`, and as it was if it was seen before. */
async function checked(seed: number, trace?: Trace): Promise<SeedResult> {
  const result = await simulate(seed, trace);
  if (seed % replayEvery !== 0 || trace !== undefined || result.broken !== undefined) return result;
  const again = await simulate(seed);
  if (again.digest === result.digest) return result;
  const sentence = `the same seed came to ${result.digest} and to ${again.digest}`;
  return { ...result, broken: { rule: 'the simulation works', sentence } };
}

function note(totals: Totals, { seed, steps, calls, tally, broken }: SeedResult): void {
  totals.seeds++;
  totals.steps += steps;
  totals.calls += calls;
  add(totals.tally, tally);
  if (broken === undefined) return;
  totals.broken++;
  process.stdout.write(
    `seed ${seed}: ${broken.rule}: ${broken.sentence}\n` +
      `  replay: npm run sim -- --seed ${seed} --trace\n`,
  );
}

/** Each worker asks for the next seed when it is done with one. */
async function inWorkers(from: number, to: number, workers: number, totals: Totals): Promise<void> {
  let next = from;
  await Promise.all(
    Array.from({ length: workers }, async () => {
      const worker = new Worker(new URL(import.meta.url));
      await new Promise<void>((resolve, reject) => {
        const feed = (): void => {
          if (next > to) return resolve();
          worker.postMessage(next++);
        };
        worker.on('message', (result: SeedResult) => {
          note(totals, result);
          feed();
        });
        worker.on('error', reject);
        feed();
      });
      await worker.terminate();
    }),
  );
}

function showTally(tally: Tally): void {
  for (const what of happenings)
    process.stdout.write(`${String(tally.get(what) ?? 0).padStart(9)}  ${what}\n`);
}

function options() {
  try {
    return parseArgs({
      options: {
        seed: { type: 'string' },
        seeds: { type: 'string' },
        trace: { type: 'boolean', default: false },
        workers: { type: 'string', default: `${availableParallelism()}` },
        'until-broken': { type: 'boolean', default: false },
        'all-storms': { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${usage}`);
    return process.exit(2);
  }
}

async function main(): Promise<void> {
  const values = options();
  const [from = 1, to = from] = (values.seeds ?? values.seed ?? '1-100').split('-').map(Number);
  const workers = Number(values.workers);
  if (![from, to, workers].every(Number.isSafeInteger) || workers < 1) {
    process.stderr.write(usage);
    process.exit(2);
  }
  const totals: Totals = { seeds: 0, steps: 0, calls: 0, broken: 0, tally: new Map() };
  const startedMs = Date.now();
  const trace = values.trace ? (line: string) => void process.stdout.write(`${line}\n`) : undefined;
  const isOrdered = trace !== undefined || values['until-broken'] || from === to;
  if (workers > 1 && !isOrdered) await inWorkers(from, to, workers, totals);
  else
    for (let seed = from; seed <= to; seed++) {
      note(totals, await checked(seed, trace));
      if (values['until-broken'] && totals.broken > 0) break;
    }
  const tookMs = Date.now() - startedMs;
  const lacking = values['all-storms'] ? missing(totals.tally) : [];
  if (values['all-storms']) showTally(totals.tally);
  for (const what of lacking) process.stdout.write(`never happened: ${what}\n`);
  process.stdout.write(
    `${totals.seeds} seeds, ${totals.broken} broken, ${totals.steps} events, ` +
      `${totals.calls} calls in ${tookMs} ms\n`,
  );
  process.exitCode = totals.broken > 0 || lacking.length > 0 ? 1 : 0;
}

if (isMainThread) await main();
else
  parentPort?.on('message', (seed: number) => {
    void checked(seed).then((result) => parentPort?.postMessage(result));
  });
