// `npm test`: everything, in the order in which it is cheapest to fail. Suites whose machine parts
// (Docker, Chromium …) are not to be had are skipped by name; with CI=true nothing may be skipped.
// Arguments go to the last step: `npm test -- unit`, `npm test -- system test/compat`.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import path from 'node:path';
import { build, isStale } from '../electron/build.ts';
import { prepareMachine, root, type Missing } from './setup/machine.ts';

interface Step {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

const checks: readonly Step[] = [
  { name: 'format', command: 'oxfmt', args: ['--check', '.'] },
  { name: 'lint', command: 'oxlint', args: ['--type-aware'] },
  ...['kube', 'platform', 'controlplane', 'desktop'].map((folder) => types(`electron/${folder}`)),
  types('agent'),
  types('test'),
  { name: 'types: renderer', command: 'vue-tsc', args: ['-p', 'renderer'] },
];

function types(folder: string): Step {
  return { name: `types: ${folder}`, command: 'tsc', args: ['-p', folder] };
}

/** What no single test shows: that the store holds in any weather. */
const simulation: Step = {
  name: 'simulation: 2000 seeds',
  command: 'node',
  args: ['test/sim/store/run.ts', '--seeds', '1-2000', '--all-storms'],
};

/** And that the tests can fail. */
const mutations: Step = {
  name: 'mutations',
  command: 'node',
  args: ['test/mutations/run.ts'],
};

/** The system suites and what each needs; a suite file that is not listed here needs nothing. */
const needs: Readonly<Record<string, readonly (keyof Missing)[]>> = {
  'test/compat': ['kubectl', 'docker', 'nftables', 'busybox'],
  'test/compat/etcd-store.test.ts': ['etcd', 'etcdctl'],
  'test/compat/etcdctl.test.ts': ['etcd', 'etcdctl'],
  'test/compat/faults-backup.test.ts': ['root'],
  'test/compat/faults-disk.test.ts': ['root'],
  'test/compat/faults-restart.test.ts': ['root'],
  'test/compat/faults-user.test.ts': ['root'],
  'test/compat/streams.test.ts': ['root', 'oldKubectl'],
  'test/e2e/browser.test.ts': ['chromium', 'docker', 'busybox'],
  'test/e2e/contract.test.ts': ['kubectl'],
  'test/e2e/datastore.test.ts': ['kubectl', 'etcd', 'etcdctl'],
  'test/e2e/electron.test.ts': ['electron', 'xvfb'],
  'test/e2e/etcd-group.test.ts': ['kubectl', 'etcd', 'etcdctl'],
  'test/e2e/install-engine.test.ts': ['root', 'chromium', 'docker', 'busybox', 'bareDebian'],
  'test/e2e/renderer.test.ts': ['chromium'],
  'test/e2e/docker-runtime.test.ts': ['docker', 'busybox'],
  'test/e2e/proxy.test.ts': ['nftables'],
};

let passed = 0;
const failures: string[] = [];
const skipped: string[] = [];

/** How a step runs while others do: it is kept quiet until it ends. */
interface Beside {
  /** From 0 to 19 (Unix' nice). */
  readonly priority: number;
}

async function run(step: Step, beside?: Beside): Promise<void> {
  const startedMs = Date.now();
  const output = beside === undefined ? 'inherit' : 'pipe';
  const child = spawn(path.resolve(root, 'node_modules/.bin', step.command), step.args, {
    cwd: root,
    stdio: ['inherit', output, output],
    env: { ...process.env, FLOTILLA_DISCOVERY: 'off' },
  });
  if (beside !== undefined && child.pid !== undefined) setPriority(child.pid, beside.priority);
  const said: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => said.push(chunk));
  const status = await new Promise((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  process.stdout.write(Buffer.concat(said));
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
  process.stdout.write(`${status === 0 ? 'ok    ' : 'FAILED'} ${step.name} (${seconds} s)\n`);
  if (status === 0) passed++;
  else failures.push(step.name);
}

function vitest(project: string, args: readonly string[] = []): Step {
  // Unless told so, one processor is left idle.
  const fixed = [
    'run',
    '--config',
    'test/vitest.config.ts',
    '--project',
    project,
    '--maxWorkers=100%',
  ];
  return { name: `vitest: ${project}`, command: 'vitest', args: [...fixed, ...args] };
}

const [only, ...rest] = process.argv.slice(2);
if (only !== undefined && only !== 'unit' && only !== 'system') {
  process.stderr.write(`npm test [-- unit|system [FILTER …]], not "${only}".\n`);
  process.exit(2);
}
if (only === undefined) for (const step of checks) await run(step);
if (only !== 'unit' && isStale()) await build();
if (only === undefined || only === 'unit') await run(vitest('unit', rest));
if (only === undefined) await run(simulation);
if (only === undefined || only === 'system') {
  const missing = await prepareMachine();
  const excluded: string[] = [];
  for (const [suite, parts] of Object.entries(needs)) {
    const why = parts.flatMap((part) => missing[part] ?? []);
    if (why.length === 0 || !existsSync(path.join(root, suite))) continue;
    skipped.push(`${suite}: ${why.join('; ')}`);
    excluded.push('--exclude', suite.endsWith('.ts') ? suite : `${suite}/**`);
  }
  if (only === undefined) await runAll(excluded);
  else await run(vitest('system', [...rest, ...excluded]));
}

/**
 * In a network of its own, where there is one to be had: a browser gives up what it is loading
 * whenever an interface comes or goes, and containers bring theirs.
 */
function withoutNetwork(step: Step): Step {
  const unshare = '/usr/bin/unshare';
  if (process.getuid?.() !== 0 || !existsSync(unshare)) return step;
  const program = path.join(root, 'node_modules/.bin', step.command);
  const script = 'ip link set lo up && exec "$0" "$@"';
  return { ...step, command: unshare, args: ['--net', 'sh', '-c', script, program, ...step.args] };
}

/** The system suites mostly wait for other processes: what needs the processor runs beside them. */
async function runAll(excluded: readonly string[]): Promise<void> {
  // Its cluster is a fake, its browser is real.
  const pages = 'test/e2e/renderer.test.ts';
  const looking = excluded.includes(pages)
    ? undefined
    : run(withoutNetwork({ ...vitest('system', [pages]), name: 'vitest: pages' }), { priority: 0 });
  const proving = run(mutations, { priority: constants.priority.PRIORITY_LOW });
  await Promise.all([run(vitest('system', [...excluded, '--exclude', pages])), looking, proving]);
}

for (const name of skipped) process.stdout.write(`skipped ${name}\n`);
for (const name of failures) process.stdout.write(`failed  ${name}\n`);
const skippedText = skipped.length === 0 ? '' : `, ${skipped.length} skipped`;
process.stdout.write(`${passed} passed, ${failures.length} failed${skippedText}\n`);
const mayNotSkip = process.env['CI'] === 'true' && skipped.length > 0;
if (mayNotSkip) process.stdout.write('With CI=true nothing may be skipped.\n');
process.exit(failures.length > 0 || mayNotSkip ? 1 : 0);
