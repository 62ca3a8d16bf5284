// `npm test`: everything, in the order in which it is cheapest to fail. Suites whose machine parts
// (Docker, Chromium …) are not to be had are skipped by name; with CI=true nothing may be skipped.
// Arguments go to the last step: `npm test -- unit`, `npm test -- system test/compat`.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism, constants, setPriority } from 'node:os';
import path from 'node:path';
import { build, isStale } from '../electron/build.ts';
import { cache, prepareMachine, root, type Missing } from './setup/machine.ts';

interface Step {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

/** Each takes one processor; the longest first. */
const checks: readonly Step[] = [
  { name: 'types: renderer', command: 'vue-tsc', args: ['-p', 'renderer'] },
  { name: 'lint', command: 'oxlint', args: ['--type-aware'] },
  types('test'),
  types('electron/controlplane'),
  ...['electron/kube', 'electron/desktop', 'agent', 'electron/platform'].map(types),
  { name: 'format', command: 'oxfmt', args: ['--check', '.'] },
];

/** By TypeScript 7, four times as fast; vue-tsc needs 6, and both call their program `tsc`. */
function types(folder: string): Step {
  const command = '../typescript-7/bin/tsc';
  return { name: `types: ${folder}`, command, args: ['-p', folder] };
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
  'test/compat/faults-agent-disk.test.ts': ['root'],
  'test/compat/faults-backup.test.ts': ['root'],
  'test/compat/faults-disk.test.ts': ['root'],
  'test/compat/faults-restart.test.ts': ['root'],
  'test/compat/faults-user.test.ts': ['root'],
  'test/compat/network-policy.test.ts': ['root', 'lab'],
  'test/compat/ingress.test.ts': ['root', 'avahi'],
  'test/compat/power-cut.test.ts': ['root'],
  'test/compat/removal.test.ts': ['root'],
  'test/compat/streams.test.ts': ['root', 'oldKubectl'],
  'test/e2e/browser.test.ts': ['chromium', 'docker', 'busybox'],
  'test/e2e/contract.test.ts': ['kubectl'],
  'test/e2e/datastore.test.ts': ['kubectl', 'etcd', 'etcdctl'],
  'test/e2e/electron.test.ts': ['electron', 'xvfb'],
  'test/e2e/enrolment.test.ts': ['root', 'lab'],
  'test/e2e/etcd-group.test.ts': ['kubectl', 'etcd', 'etcdctl'],
  'test/e2e/home-search.test.ts': ['root', 'lab'],
  'test/e2e/newcomer.test.ts': ['root', 'chromium', 'docker', 'busybox', 'lab'],
  'test/e2e/machine-command.test.ts': ['root', 'docker', 'busybox', 'lab'],
  'test/e2e/install-engine.test.ts': ['root', 'chromium', 'docker', 'busybox', 'bareDebian'],
  'test/e2e/renderer.test.ts': ['chromium'],
  'test/e2e/renderer-fleet.test.ts': ['chromium'],
  'test/e2e/renderer-machine.test.ts': ['chromium'],
  'test/e2e/renderer-moves.test.ts': ['chromium'],
  'test/e2e/docker-runtime.test.ts': ['docker', 'busybox'],
  'test/e2e/member-machines.test.ts': ['root', 'docker', 'busybox', 'lab', 'kubectl'],
  'test/e2e/pod-network.test.ts': ['root', 'docker', 'busybox', 'lab'],
  'test/e2e/volume-move.test.ts': ['root', 'docker', 'busybox', 'lab'],
  'test/e2e/proxy.test.ts': ['root', 'nftables', 'conntrack'],
};

/**
 * The system suites that leave the machine's own engine and network alone: what they have is processes,
 * files, ports, disks and namespaces of their own. They run beside the others, one after another as those.
 */
const apart: readonly string[] = [
  ...['admission', 'apply', 'bad-input', 'custom-resources', 'etcd-store', 'etcdctl', 'kinds']
    .concat('faults-backup', 'network-policy', 'operator', 'power-cut')
    .map((name) => `test/compat/${name}.test.ts`),
  ...[
    'api-failover',
    'cluster-backup',
    'cluster-command',
    'datastore',
    'etcd-group',
    'member-crashes',
    'member-return',
    'replicas',
  ]
    .concat(
      'enrolment',
      'home-search',
      'machine-command',
      'member-machines',
      'install-engine',
      'newcomer',
      'pod-network',
      'proxy',
      'restore-crashes',
      'store-group',
      'volume-move',
    )
    .map((name) => `test/e2e/${name}.test.ts`),
];

/** Their cluster is a fake, their browser is real. */
const pages = [
  'test/e2e/renderer.test.ts',
  'test/e2e/renderer-fleet.test.ts',
  'test/e2e/renderer-machine.test.ts',
  'test/e2e/renderer-moves.test.ts',
  'test/e2e/renderer-backup.test.ts',
];

/** Hundreds of processes start, each of which would compile the same sources. */
const compiled = path.join(cache, 'compiled');

let passed = 0;
const failures: string[] = [];
const skipped: string[] = [];

interface Manner {
  /** As others run at the same time, what it says comes when it has ended. */
  readonly isBeside: boolean;
  /** From 0 to 19 (Unix' nice). */
  readonly priority?: number;
}

async function run(step: Step, { isBeside, priority = 0 }: Manner): Promise<void> {
  const startedMs = Date.now();
  const output = isBeside ? 'pipe' : 'inherit';
  const child = spawn(path.resolve(root, 'node_modules/.bin', step.command), step.args, {
    cwd: root,
    stdio: ['inherit', output, output],
    env: { ...process.env, FLOTILLA_DISCOVERY: 'off', NODE_COMPILE_CACHE: compiled },
  });
  if (priority !== 0 && child.pid !== undefined) setPriority(child.pid, priority);
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

function vitest(name: string, project: 'unit' | 'system', args: readonly string[]): Step {
  // Unless told so, one processor is left idle.
  const fixed = ['run', '--config', 'test/vitest.config.ts', '--maxWorkers=100%', '--project'];
  return { name: `vitest: ${name}`, command: 'vitest', args: [...fixed, project, ...args] };
}

/** As many at a time as there are processors. */
async function runChecks(): Promise<void> {
  const waiting = [...checks];
  async function work(): Promise<void> {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
      await run(next, { isBeside: true });
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work));
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

function except(suites: readonly string[]): string[] {
  return suites.flatMap((suite) => ['--exclude', suite.endsWith('.ts') ? suite : `${suite}/**`]);
}

/** Names what has to be skipped. */
function leaveOut(missing: Missing): string[] {
  const left: string[] = [];
  for (const [suite, parts] of Object.entries(needs)) {
    const why = parts.flatMap((part) => missing[part] ?? []);
    if (why.length === 0 || !existsSync(path.join(root, suite))) continue;
    skipped.push(`${suite}: ${why.join('; ')}`);
    left.push(suite);
  }
  return left;
}

/** Two rows, as each mostly waits for other processes, and with what they leave the mutations. */
async function runSystem(left: readonly string[]): Promise<void> {
  const beside: Manner = { isBeside: true };
  const looking = withoutNetwork(vitest('pages', 'system', pages));
  async function runApart(): Promise<void> {
    if (!pages.some((one) => left.includes(one))) await run(looking, beside);
    await run(vitest('system, apart', 'system', [...apart, ...except(left)]), beside);
  }
  await Promise.all([
    run(vitest('system', 'system', except([...left, ...apart, ...pages])), { isBeside: false }),
    runApart(),
    run(mutations, { isBeside: true, priority: constants.priority.PRIORITY_LOW }),
  ]);
}

/** What the machine lacks is fetched while the processors are busy with what needs none of it. */
async function runAll(): Promise<void> {
  const preparing = prepareMachine();
  // Told below, where it is waited for.
  preparing.catch(() => undefined);
  await runChecks();
  if (isStale()) await build();
  await run(vitest('unit', 'unit', []), { isBeside: false });
  await run(simulation, { isBeside: false });
  await runSystem(leaveOut(await preparing));
}

const [only, ...rest] = process.argv.slice(2);
if (only === undefined) await runAll();
else if (only === 'unit') await run(vitest('unit', only, rest), { isBeside: false });
else if (only === 'system') {
  if (isStale()) await build();
  const left = leaveOut(await prepareMachine());
  await run(vitest('system', only, [...rest, ...except(left)]), { isBeside: false });
} else {
  process.stderr.write(`npm test [-- unit|system [FILTER …]], not "${only}".\n`);
  process.exit(2);
}

for (const name of skipped) process.stdout.write(`skipped ${name}\n`);
for (const name of failures) process.stdout.write(`failed  ${name}\n`);
const skippedText = skipped.length === 0 ? '' : `, ${skipped.length} skipped`;
process.stdout.write(`${passed} passed, ${failures.length} failed${skippedText}\n`);
const mayNotSkip = process.env['CI'] === 'true' && skipped.length > 0;
if (mayNotSkip) process.stdout.write('With CI=true nothing may be skipped.\n');
process.exit(failures.length > 0 || mayNotSkip ? 1 : 0);
