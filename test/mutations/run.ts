// `npm run mutations [-- NAME …]`: makes each deliberate mistake of list.ts, one at a time and never
// in the working tree, and demands that the test it names goes red. What survives is a test that is
// missing. `--all-tests`: which tests of that file notice, whatever they are called.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { mutations } from './list.ts';
import { check, type Mutation, type NamedTest, type Simulation } from './mutation.ts';
import { variable } from './plugin.ts';

const root = path.join(import.meta.dirname, '../..');
const vitest = path.join(root, 'node_modules/vitest/vitest.mjs');

interface Output {
  readonly status: number | null;
  readonly text: string;
  readonly errors: string;
}

function run(mutation: Mutation, args: readonly string[]): Promise<Output> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, [variable]: mutation.name };
    const child = spawn(process.execPath, args, { cwd: root, env });
    let text = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (errors += chunk));
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, text, errors }));
  });
}

interface TestReport {
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

/** Names of the tests that failed. */
async function failedTests(mutation: Mutation, { test, named }: NamedTest): Promise<string[]> {
  const fixed = ['run', '--config', 'test/vitest.config.ts', '--project', 'unit', test];
  const only = values['all-tests'] ? [] : ['-t', named.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')];
  const folder = mkdtempSync(path.join(tmpdir(), 'mutation-'));
  const file = path.join(folder, 'report.json');
  const report = ['--reporter=json', `--outputFile=${file}`];
  try {
    const { errors } = await run(mutation, [vitest, ...fixed, ...report, ...only]);
    if (!existsSync(file)) throw new Error(`no report of ${test}: ${errors}`);
    const { testResults } = JSON.parse(readFileSync(file, 'utf8')) as TestReport;
    return testResults
      .flatMap(({ assertionResults }) => assertionResults)
      .filter(({ status }) => status === 'failed')
      .map(({ fullName }) => fullName);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Rules that were broken, as "RULE (seed)". */
async function brokenRules(mutation: Mutation, { seeds }: Simulation): Promise<string[]> {
  const hook = path.join(import.meta.dirname, 'preload.ts');
  const args = ['--import', hook, 'test/sim/store/run.ts', '--seeds', seeds, '--until-broken'];
  const { status, text, errors } = await run(mutation, args);
  if (status !== 0 && status !== 1) throw new Error(`the simulation did not run: ${errors}`);
  return Array.from(
    text.matchAll(/^seed (\d+): ([^:]*):/gm),
    ([, seed, rule]) => `${rule} (${seed})`,
  );
}

async function judge(mutation: Mutation): Promise<boolean> {
  const { name, caughtBy } = mutation;
  const wanted = 'rule' in caughtBy ? caughtBy.rule : caughtBy.named;
  const startedMs = Date.now();
  const noticed =
    'rule' in caughtBy
      ? await brokenRules(mutation, caughtBy)
      : await failedTests(mutation, caughtBy);
  const isCaught = noticed.some((one) => one.includes(wanted));
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
  const others = noticed.length === 0 ? 'nothing' : noticed.join('; ');
  const verdict = isCaught ? 'caught  ' : 'SURVIVED';
  const isClear = isCaught && noticed.length === 1;
  const why = isClear ? `: ${others}` : `\n    wanted: ${wanted}\n    red: ${others}`;
  process.stdout.write(`${verdict} ${name} (${seconds} s)${why}\n`);
  return isCaught;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { 'all-tests': { type: 'boolean', default: false } },
});
const chosen = mutations.filter(
  ({ name }) => positionals.length === 0 || positionals.some((part) => name.includes(part)),
);
if (chosen.length === 0) {
  process.stderr.write(`no mutation's name contains ${positionals.join(' or ')}\n`);
  process.exit(2);
}
for (const mutation of mutations) check(mutation);
const startedMs = Date.now();
const waiting = [...chosen];
let survivors = 0;
async function work(): Promise<void> {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
    if (!(await judge(next))) survivors++;
}
await Promise.all(Array.from({ length: availableParallelism() }, work));
const seconds = ((Date.now() - startedMs) / 1000).toFixed(0);
process.stdout.write(`${chosen.length} mutations, ${survivors} survived (${seconds} s)\n`);
process.exitCode = survivors > 0 ? 1 : 0;
