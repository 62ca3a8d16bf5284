// `npm run bench -- NAME [--json FILE]`: runs one benchmark of this folder and prints its table.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { build, isStale } from '../../electron/build.ts';
import { machine, table, type Benchmark, type Report } from './harness.ts';
import { start } from './start.ts';

const benchmarks: readonly Benchmark[] = [start];

function usage(): never {
  const list = benchmarks.map(({ name, about }) => `  ${name.padEnd(10)} ${about}`).join('\n');
  process.stderr.write(`npm run bench -- NAME [--json FILE]\n\n${list}\n`);
  process.exit(2);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'string' } },
});
const benchmark = benchmarks.find(({ name }) => name === positionals[0]);
if (benchmark === undefined || positionals.length !== 1) usage();
if (isStale()) await build();
const rows = await benchmark.run((text) => void process.stderr.write(`${text}\n`));
const date = new Date().toISOString().slice(0, 10);
const report: Report = { name: benchmark.name, machine: machine(), date, rows };
process.stdout.write(table(report));
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
process.exit(rows.some((r) => r.met === false) ? 1 : 0);
