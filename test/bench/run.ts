// `npm run bench -- NAME [PART…] [--pairs N] [--json FILE]`: runs one benchmark of this folder, or
// some parts of it, and prints its table.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { machine, table, type Benchmark, type Report } from './harness.ts';
import { agent } from './agent.ts';
import { api } from './api.ts';
import { fleet } from './fleet.ts';
import { network } from './network.ts';
import { start } from './start.ts';
import { store } from './store.ts';

const benchmarks: readonly Benchmark[] = [start, api, store, agent, network, fleet];

function usage(mistake?: string): never {
  const list = benchmarks.map(
    ({ name, about, parts = [] }) =>
      `  ${name.padEnd(10)} ${about}${parts.length === 0 ? '' : `\n${' '.repeat(13)}parts: ${parts.join(', ')}`}`,
  );
  const usageLine = 'npm run bench -- NAME [PART…] [--pairs N] [--json FILE]';
  const first = mistake === undefined ? '' : `${mistake}\n`;
  process.stderr.write(`${first}${usageLine}\n\n${list.join('\n')}\n`);
  process.exit(2);
}

function options() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { json: { type: 'string' }, pairs: { type: 'string' } },
    });
  } catch (error) {
    return usage((error as Error).message);
  }
}

const { values, positionals } = options();
const [wanted, ...only] = positionals;
const benchmark = benchmarks.find(({ name }) => name === wanted);
if (wanted === undefined) usage();
if (benchmark === undefined) usage(`There is no benchmark "${wanted}".`);
const unknown = only.find((part) => benchmark.parts?.includes(part) !== true);
if (unknown !== undefined) usage(`The benchmark "${wanted}" has no part "${unknown}".`);
const pairs = values.pairs === undefined ? undefined : Number(values.pairs);
if (pairs !== undefined && !(Number.isInteger(pairs) && pairs > 0))
  usage(`--pairs takes a number from 1 on, not "${values.pairs}".`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
const say = (text: string): void => void process.stderr.write(`${text}\n`);
const rows = await benchmark.run({ say, only, pairs });
const date = new Date().toISOString().slice(0, 10);
const report: Report = { name: benchmark.name, machine: machine(), date, rows };
process.stdout.write(table(report));
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
process.exit(rows.some((r) => r.met === false) ? 1 : 0);
