// `npm run mutations [-- NAME …]`: makes each deliberate mistake of list.ts, one at a time and never
// in the working tree, and demands that the test it names goes red. What survives is a test that is
// missing. `--all-tests`: which tests of that file notice, whatever they are called.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { mutations } from './list.ts';
import { check, isNamed, isSimulated, type Mutation, type SimulatedMutation } from './mutation.ts';
import { variable } from './plugin.ts';
import type { Verdict } from './reporter.ts';

const root = path.join(import.meta.dirname, '../..');
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { 'all-tests': { type: 'boolean', default: false } },
});

interface Output {
  readonly status: number | null;
  readonly text: string;
  readonly errors: string;
}

async function run(
  args: readonly string[],
  variables: Readonly<Record<string, string>>,
  onLine: (line: string) => void = () => undefined,
): Promise<Output> {
  const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, ...variables } });
  let text = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  createInterface({ input: child.stdout }).on('line', onLine);
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (errors += chunk));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  return { status, text, errors };
}

let survivors = 0;

function judge({ name, caughtBy }: Mutation, noticed: readonly string[]): void {
  const wanted = 'rule' in caughtBy ? caughtBy.rule : caughtBy.named;
  const isCaught = noticed.some((one) => one.includes(wanted));
  if (!isCaught) survivors++;
  const others = noticed.length === 0 ? 'nothing' : noticed.join('; ');
  const verdict = isCaught ? 'caught  ' : 'SURVIVED';
  const isClear = isCaught && noticed.length === 1;
  const why = isClear ? `: ${others}` : `\n    wanted: ${wanted}\n    red: ${others}`;
  process.stdout.write(`${verdict} ${name}${why}\n`);
}

/** All in one Vitest: starting one costs more than most of these tests. */
async function judgeByTests(chosen: readonly Mutation[]): Promise<void> {
  const waiting = new Map(chosen.filter(isNamed).map((mutation) => [mutation.name, mutation]));
  if (waiting.size === 0) return;
  const vitest = path.join(root, 'node_modules/vitest/vitest.mjs');
  const fixed = ['run', '--config', 'test/mutations/vitest.config.ts', '--maxWorkers=100%'];
  const named = [...waiting.values()].map(({ caughtBy }) =>
    caughtBy.named.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`),
  );
  const only = values['all-tests'] ? [] : ['-t', named.join('|')];
  const names = JSON.stringify([...waiting.keys()]);
  const { errors } = await run(
    [vitest, ...fixed, ...only],
    { FLOTILLA_MUTATIONS: names },
    (line) => {
      if (!line.startsWith('{')) return;
      const { mutation: name, failed, errors: broken } = JSON.parse(line) as Verdict;
      const mutation = waiting.get(name);
      if (mutation === undefined) return;
      waiting.delete(name);
      // What others name ran as well.
      const own = failed.filter((one) => one.includes(mutation.caughtBy.named));
      judge(mutation, [...(values['all-tests'] ? failed : own), ...broken]);
    },
  );
  if (waiting.size > 0)
    throw new Error(`no verdict on ${[...waiting.keys()].join(', ')}: ${errors}`);
}

/** Rules that were broken, as "RULE (seed)". */
async function judgeBySimulation(mutation: SimulatedMutation): Promise<void> {
  const hook = path.join(import.meta.dirname, 'preload.ts');
  const { seeds } = mutation.caughtBy;
  const args = ['--import', hook, 'test/sim/store/run.ts', '--seeds', seeds, '--until-broken'];
  const { status, text, errors } = await run(args, { [variable]: mutation.name });
  if (status !== 0 && status !== 1) throw new Error(`the simulation did not run: ${errors}`);
  const broken = text.matchAll(/^seed (\d+): ([^:]*):/gm);
  judge(
    mutation,
    Array.from(broken, ([, seed, rule]) => `${rule} (${seed})`),
  );
}

const chosen = mutations.filter(
  ({ name }) => positionals.length === 0 || positionals.some((part) => name.includes(part)),
);
if (chosen.length === 0) {
  process.stderr.write(`no mutation's name contains ${positionals.join(' or ')}\n`);
  process.exit(2);
}
for (const mutation of mutations) check(mutation);
const startedMs = Date.now();
await judgeByTests(chosen);
const waiting = chosen.filter(isSimulated);
async function work(): Promise<void> {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
    await judgeBySimulation(next);
}
await Promise.all(Array.from({ length: availableParallelism() }, work));
const seconds = ((Date.now() - startedMs) / 1000).toFixed(0);
process.stdout.write(`${chosen.length} mutations, ${survivors} survived (${seconds} s)\n`);
process.exitCode = survivors > 0 ? 1 : 0;
