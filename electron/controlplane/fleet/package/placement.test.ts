// The programs by which a machine becomes a node, run by a real sh on a folder that stands for the machine's. Stand-ins
// are systemctl, which writes down what it was asked, and sync, which would wait for a busy disk.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { packArchive } from './archive.ts';
import { shortDigest } from './machine-paths.ts';
import { commandLine, placement, type Program } from './placement.ts';

let folder: string;
let root: string;
let units: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-placement-'));
  root = path.join(folder, 'var');
  units = path.join(folder, 'units');
  mkdirSync(units);
  const standIns = { systemctl: `echo "$*" >> "${folder}/asked"`, sync: ':' };
  for (const [name, text] of Object.entries(standIns)) {
    writeFileSync(path.join(folder, name), `#!/bin/sh\n${text}\n`);
    chmodSync(path.join(folder, name), 0o755);
  }
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Outcome {
  readonly code: number | null;
  readonly says: string;
}

/** As SSH has it run: one line, for a shell. */
function run(program: Program, args: readonly string[] = [], input?: Uint8Array): Outcome {
  const env = {
    PATH: `${folder}:${process.env['PATH']}`,
    FLOTILLA_ROOT: root,
    FLOTILLA_UNITS: units,
  };
  const shell = ['-c', commandLine(program, args)];
  const { status, stdout, stderr } = spawnSync('sh', shell, { env, input, encoding: 'utf8' });
  return { code: status, says: (status === 0 ? stdout : stderr).trim() };
}

const done = { code: 0, says: 'done' };
const todo = { code: 0, says: 'todo' };

interface Made {
  readonly bytes: Uint8Array;
  readonly sha256: string;
  readonly short: string;
}

async function made(files: Readonly<Record<string, string>>): Promise<Made> {
  const listed = Object.entries(files).map(([name, text]) => ({
    name,
    mode: 0o755,
    data: Buffer.from(text),
  }));
  const bytes = await packArchive(listed);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { bytes, sha256, short: shortDigest(sha256) };
}

const nodeThatRuns = () => made({ 'bin/node': '#!/bin/sh\necho v24\n' });
const agentNamed = (name: string) =>
  made({ 'main.js': name, start: '#!/bin/sh\necho "agent $* of $FLOTILLA_NODE_NAME"\n' });

async function placed() {
  const [runtime, agent] = [await nodeThatRuns(), await agentNamed('one')];
  run(placement.placeRuntime, [runtime.sha256], runtime.bytes);
  run(placement.placeAgent, [agent.sha256, runtime.short], agent.bytes);
  run(placement.use, [agent.short]);
  return { runtime, agent };
}

it('places runtime and agent, and tells by its checks what is still to do', async () => {
  const [runtime, agent] = [await nodeThatRuns(), await agentNamed('one')];
  const digests = [agent.short, runtime.short];
  expect(run(placement.checkRuntime, [runtime.short])).toEqual(todo);
  expect(existsSync(root)).toBe(false);
  expect(run(placement.placeRuntime, [runtime.sha256], runtime.bytes)).toEqual(done);
  expect(run(placement.checkRuntime, [runtime.short])).toEqual(done);
  expect(run(placement.checkAgent, digests)).toEqual(todo);
  expect(run(placement.placeAgent, [agent.sha256, runtime.short], agent.bytes)).toEqual(done);
  expect(run(placement.checkAgent, digests)).toEqual(done);
  expect(run(placement.checkUse, [agent.short])).toEqual(todo);
  expect(run(placement.use, [agent.short])).toEqual(done);
  expect(run(placement.checkUse, [agent.short])).toEqual(done);
  expect(readFileSync(path.join(root, 'current/main.js'), 'utf8')).toBe('one');
  expect(existsSync(path.join(root, 'current/runtime/bin/node'))).toBe(true);
});

it('does all of it again without harm, and leaves nothing beside', async () => {
  const { runtime, agent } = await placed();
  expect(run(placement.placeRuntime, [runtime.sha256], runtime.bytes)).toEqual(done);
  expect(run(placement.placeAgent, [agent.sha256, runtime.short], agent.bytes)).toEqual(done);
  expect(run(placement.use, [agent.short])).toEqual(done);
  expect(readdirSync(root).toSorted()).toEqual([`agent-${agent.short}`, 'current', 'runtime']);
  expect(readdirSync(path.join(root, 'runtime'))).toEqual([runtime.short]);
});

it('refuses what arrives cut short or changed, and keeps nothing of it', async () => {
  const runtime = await nodeThatRuns();
  const cut = runtime.bytes.subarray(0, runtime.bytes.length - 100);
  const refused = run(placement.placeRuntime, [runtime.sha256], cut);
  expect(refused.code).toBe(1);
  expect(refused.says).toMatch(/^the package arrived damaged or cut short: its sha256 is [0-9a-f]/);
  expect(readdirSync(root)).toEqual([]);
});

it('refuses a Node that does not run there, with what the system says', async () => {
  const foreign = await made({ 'bin/node': '#!/bin/sh\necho "no such machine" >&2\nexit 1\n' });
  expect(run(placement.placeRuntime, [foreign.sha256], foreign.bytes)).toEqual({
    code: 1,
    says: 'Node does not run on this system: no such machine',
  });
  expect(existsSync(path.join(root, 'runtime'))).toBe(false);
});

it('replaces a runtime that is broken', async () => {
  const { runtime } = await placed();
  writeFileSync(path.join(root, 'runtime', runtime.short, 'bin/node'), 'rubbish');
  expect(run(placement.checkRuntime, [runtime.short])).toEqual(todo);
  expect(run(placement.placeRuntime, [runtime.sha256], runtime.bytes)).toEqual(done);
  expect(run(placement.checkRuntime, [runtime.short])).toEqual(done);
});

it('wants a runtime before an agent, and an agent before its use', async () => {
  const agent = await agentNamed('one');
  const early = run(placement.placeAgent, [agent.sha256, 'abcdefabcdef'], agent.bytes);
  expect(early).toEqual({ code: 1, says: 'the runtime abcdefabcdef is not there yet' });
  expect(run(placement.use, ['abcdefabcdef']).says).toBe('the agent abcdefabcdef is not there yet');
});

const hostile = ['', '../x', '$(touch x)', "a'b", 'A'];
it.each(hostile)('takes %j for no digest', (value) => {
  expect(run(placement.checkRuntime, [value])).toEqual({
    code: 1,
    says: `not a digest: ${value}`.trim(),
  });
});

it('takes no name that could be more than a name', () => {
  const refused = run(placement.join, ['pi\nX=y', 'off'], Buffer.from('token'));
  expect(refused).toEqual({ code: 1, says: 'no name of a node: pi\nX=y' });
  expect(run(placement.join, ['pi', 'eth0;reboot'], Buffer.from('x')).code).toBe(1);
  expect(existsSync(root)).toBe(false);
});

it('writes the unit and the supervisor once, and again when they are others', () => {
  expect(run(placement.checkUnit)).toEqual(todo);
  expect(run(placement.placeUnit)).toEqual(done);
  expect(run(placement.checkUnit)).toEqual(done);
  const unit = path.join(units, 'flotilla-agent.service');
  expect(readFileSync(unit, 'utf8')).toContain('ExecStart=/bin/sh /var/lib/flotilla/supervisor\n');
  writeFileSync(unit, '[Unit]\n');
  expect(run(placement.checkUnit)).toEqual(todo);
});

it('joins by a token that only root can read, until it has joined', async () => {
  await placed();
  expect(run(placement.join, ['pi', 'off'], Buffer.from('token'))).toEqual(done);
  expect(run(placement.checkJoin, ['pi', 'off'])).toEqual(todo);
  mkdirSync(path.join(root, 'state'));
  writeFileSync(path.join(root, 'state/kubeconfig'), '{}');
  expect(run(placement.checkJoin, ['pi', 'off'])).toEqual(done);
  expect(run(placement.checkJoin, ['other', 'off'])).toEqual(todo);
  const mode = spawnSync('stat', ['-c', '%a', path.join(root, 'bootstrap')], { encoding: 'utf8' });
  expect(mode.stdout.trim()).toBe('600');
  expect(run(placement.forgetToken)).toEqual(done);
  expect(existsSync(path.join(root, 'bootstrap'))).toBe(false);
});

it('is started when the agent that runs is the one that it should be', async () => {
  const { agent } = await placed();
  expect(run(placement.checkStarted)).toEqual(todo);
  expect(run(placement.start)).toEqual(done);
  expect(readFileSync(path.join(folder, 'asked'), 'utf8')).toContain(
    'enable --quiet flotilla-agent.service\nrestart flotilla-agent.service\n',
  );
  mkdirSync(path.join(root, 'state'));
  writeFileSync(path.join(root, 'state/version'), `agent-${agent.short}\n`);
  expect(run(placement.checkStarted)).toEqual(done);
});

it('clears away agents and runtimes that neither run nor ran before', async () => {
  const { runtime } = await placed();
  const next = await agentNamed('two');
  const other = await made({ 'bin/node': '#!/bin/sh\necho v25\n' });
  run(placement.placeRuntime, [other.sha256], other.bytes);
  run(placement.placeAgent, [next.sha256, runtime.short], next.bytes);
  run(placement.use, [next.short]);
  expect(run(placement.tidy)).toEqual(done);
  expect(readdirSync(root).toSorted()).toEqual([`agent-${next.short}`, 'current', 'runtime']);
  expect(readdirSync(path.join(root, 'runtime'))).toEqual([runtime.short]);
  expect(readlinkSync(path.join(root, 'current'))).toBe(`agent-${next.short}`);
});

it('removes all that it placed, and says so', async () => {
  await placed();
  run(placement.placeUnit);
  run(placement.join, ['pi', 'off'], Buffer.from('token'));
  mkdirSync(path.join(root, 'state'));
  expect(run(placement.remove)).toEqual({
    code: 0,
    says: `stopped the agent\nremoved ${units}/flotilla-agent.service\nremoved ${root}\ndone`,
  });
  expect([existsSync(root), readdirSync(units)]).toEqual([false, []]);
  expect(run(placement.remove)).toEqual(done);
});

it('keeps the data of claims, and names it; has the agent clear away its own first', async () => {
  await placed();
  run(placement.join, ['pi', 'off'], Buffer.from('token'));
  mkdirSync(path.join(root, 'state/volumes'), { recursive: true });
  const { code, says } = run(placement.remove);
  expect(code).toBe(0);
  expect(says).toBe(`agent --remove of pi\nkept in ${root}: ./state ./state/volumes \ndone`);
});
