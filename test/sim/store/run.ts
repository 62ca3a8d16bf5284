// `npm run sim -- --seed N [--trace]` replays one seed; `-- --seeds A-B` runs many. Prints what was
// broken and by which seed, and ends with 1 then.
import { parseArgs } from 'node:util';
import { simulate } from './simulation.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    trace: { type: 'boolean', default: false },
  },
});

const [from = 1, to = from] = (values.seeds ?? values.seed ?? '1-100').split('-').map(Number);
if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to)) {
  process.stderr.write('npm run sim -- --seed N [--trace] | --seeds A-B\n');
  process.exit(2);
}

const startedMs = Date.now();
let count = 0;
let steps = 0;
let calls = 0;
for (let seed = from; seed <= to; seed++) {
  const trace = values.trace ? (line: string) => void process.stdout.write(`${line}\n`) : undefined;
  const result = await simulate(seed, trace);
  count++;
  steps += result.steps;
  calls += result.calls;
  if (result.broken === undefined) continue;
  process.exitCode = 1;
  const { rule, sentence } = result.broken;
  process.stdout.write(`seed ${seed}: ${rule}: ${sentence}\n`);
}
const tookMs = Date.now() - startedMs;
process.stdout.write(
  `${count} seeds, ${steps} events, ${calls} calls in ${tookMs} ms (${(tookMs / count).toFixed(1)} each)\n`,
);
