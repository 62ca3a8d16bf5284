// What a machine does when an agent is tried out, by a real sh: agents are a few lines of it.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../../../../test/setup/cluster.ts';
import { controlPlanePlacement } from './control-plane-placement.ts';
import { supervisorText } from './supervisor.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'flotilla-supervisor-'));
  writeFileSync(path.join(root, 'supervisor'), supervisorText);
  agent('old', 'echo old');
  symlinkSync('agent-old', path.join(root, 'current'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function agent(name: string, script: string): void {
  const folder = path.join(root, `agent-${name}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'start'), `#!/bin/sh\n${script}\n`);
  chmodSync(path.join(folder, 'start'), 0o755);
}

function tryOut(script: string): void {
  agent('new', script);
  rmSync(path.join(root, 'current'));
  symlinkSync('agent-new', path.join(root, 'current'));
  symlinkSync('agent-old', path.join(root, 'trial'));
}

const command = () => ['sh', path.join(root, 'supervisor')] as const;

/** As systemd does; `seconds`: of the trial. */
function start(seconds = '30') {
  const [program, ...args] = command();
  const env = { PATH: process.env['PATH'], FLOTILLA_TRIAL_SECONDS: seconds };
  const { status, stdout } = spawnSync(program, args, { encoding: 'utf8', env });
  return { code: status, says: stdout.trim() };
}

function state() {
  const failed = path.join(root, 'failed');
  return {
    current: readlinkSync(path.join(root, 'current')),
    trial: existsSync(path.join(root, 'trial')),
    failed: existsSync(failed) ? readFileSync(failed, 'utf8').trim() : undefined,
  };
}

const rolledBack = (why: string) => ({
  current: 'agent-old',
  trial: false,
  failed: `agent-new ${why}`,
});

it('starts what is current', () => {
  expect(start()).toEqual({ code: 0, says: 'old' });
});

it('keeps an agent that was found healthy, whatever becomes of it later', () => {
  tryOut('rm trial; exit 3');
  expect(start().code).toBe(3);
  expect(state()).toEqual({ current: 'agent-new', trial: false, failed: undefined });
});

it('leaves the trial of the next one to the next start, whose agent goes back to this one', () => {
  agent('next', 'exit 4');
  tryOut('rm trial; ln -s agent-new trial; ln -sfn agent-next current');
  expect(start('0.2').code).toBe(0);
  expect(state()).toEqual({ current: 'agent-next', trial: true, failed: undefined });
  expect(start().code).toBe(4);
  expect(state()).toEqual({
    current: 'agent-new',
    trial: false,
    failed: 'agent-next ended with code 4',
  });
});

it('goes back when a new agent ends before it is found healthy', () => {
  tryOut('exit 3');
  expect(start().code).toBe(3);
  expect(state()).toEqual(rolledBack('ended with code 3'));
  expect(start().says).toBe('old');
});

it('goes back when a new agent can not even be started', () => {
  tryOut('');
  rmSync(path.join(root, 'agent-new/start'));
  expect(start().code).toBe(127);
  expect(state()).toEqual(rolledBack('ended with code 127'));
});

it('goes back when a new agent hangs', () => {
  tryOut('trap "" TERM; while :; do sleep 0.1; done');
  expect(start('0.2').code).toBe(137);
  expect(state()).toEqual(rolledBack('was not healthy within 0.2 s'));
});

it('tries again after the machine was shut down in the middle of it', async () => {
  tryOut('trap "exit 0" TERM; echo up; while :; do sleep 0.05; done');
  const [program, ...args] = command();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  await ended;
  expect(state()).toEqual({ current: 'agent-new', trial: true, failed: undefined });
});

/** Beside the agent; what both do goes into the file `said`. */
function controlPlane(agentScript: string, script: string): void {
  agent('old', `root=${root}\n${agentScript}`);
  for (const name of ['state', 'one'])
    mkdirSync(path.join(root, 'controlplane', name), { recursive: true });
  const file = path.join(root, 'controlplane/one/start');
  writeFileSync(file, `#!/bin/sh\nroot=${root}\n${script}\n`);
  chmodSync(file, 0o755);
  symlinkSync('one', path.join(root, 'controlplane/current'));
}

const stays = (name: string): string =>
  `echo ${name} began >> $root/said; trap 'echo ${name} ended >> $root/said; exit 0' TERM; while [ -d $root ]; do sleep 0.05; done`;

function said(): string[] {
  const file = path.join(root, 'said');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
}

/** Runs it until `isDone`; then, unless that ended it, asks it to end. */
async function whileSupervised(act: (pid: number) => Promise<void>): Promise<number | null> {
  const [program, ...args] = command();
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(child, 'exit') as Promise<[number | null]>;
  await act(child.pid ?? 0);
  child.kill('SIGTERM');
  const [code] = await ended;
  return code;
}

const isSaid = (line: string, times = 1) =>
  eventually(() => said().filter((one) => one === line).length >= times, `${times} × ${line}`);

describe('with a control plane', () => {
  it('keeps both, and ends both in order', async () => {
    controlPlane(stays('agent'), stays('plane'));
    const code = await whileSupervised(async () => {
      await isSaid('agent began');
      await isSaid('plane began');
    });
    expect(code).toBe(0);
    expect(said().toSorted()).toEqual(['agent began', 'agent ended', 'plane began', 'plane ended']);
    expect(existsSync(path.join(root, 'supervised'))).toBe(false);
  });

  it('starts one again, and leaves the other alone', async () => {
    controlPlane(stays('agent'), stays('plane'));
    await whileSupervised(async () => {
      await isSaid('agent began');
      await isSaid('plane began');
      const pid = path.join(root, 'controlplane/pid');
      process.kill(Number(readFileSync(pid, 'utf8')), 'SIGKILL');
      await isSaid('plane began', 2);
    });
    expect(said().filter((line) => line.startsWith('agent'))).toEqual([
      'agent began',
      'agent ended',
    ]);
  });

  it('goes back to the one before when a new one fails, and leaves the agent alone', async () => {
    controlPlane(stays('agent'), stays('plane'));
    const two = path.join(root, 'controlplane/two');
    mkdirSync(two);
    writeFileSync(path.join(two, 'start'), '#!/bin/sh\nexit 5\n', { mode: 0o755 });
    rmSync(path.join(root, 'controlplane/current'));
    symlinkSync('two', path.join(root, 'controlplane/current'));
    symlinkSync('one', path.join(root, 'controlplane/trial'));
    await whileSupervised(async () => {
      await isSaid('agent began');
      await isSaid('plane began');
    });
    expect(readFileSync(path.join(root, 'controlplane/failed'), 'utf8')).toBe(
      'two ended with code 5\n',
    );
    expect(readlinkSync(path.join(root, 'controlplane/current'))).toBe('one');
    expect(said().filter((line) => line === 'agent began')).toHaveLength(1);
  });

  it('ends when it is taken away: the agent goes on alone from the next start', async () => {
    controlPlane(stays('agent'), stays('plane'));
    const [program, ...args] = command();
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    const ended = once(child, 'exit');
    await isSaid('plane began');
    await isSaid('agent began');
    for (const name of ['store', 'pki'])
      mkdirSync(path.join(root, 'controlplane/state', name), { recursive: true });
    writeFileSync(path.join(root, 'controlplane/state/store/state.db'), 'state');
    const text = controlPlanePlacement.drop.text;
    symlinkSync('agent-old', path.join(root, 'agent-old/runtime'));
    const env = { PATH: process.env['PATH'], FLOTILLA_ROOT: root };
    expect(spawnSync('sh', ['-c', text], { env, encoding: 'utf8' }).stdout).toBe('done\n');
    await ended;
    expect(said()).toContain('agent ended');
    expect(existsSync(path.join(root, 'controlplane'))).toBe(false);
    // What it knew, and none of the keys.
    expect(readdirSync(path.join(root, 'state-before'))).toEqual(['state.db']);
  });

  it('has no twins after it was killed itself', async () => {
    controlPlane(stays('agent'), stays('plane'));
    const [program, ...args] = command();
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    const ended = once(child, 'exit');
    await isSaid('plane began');
    await isSaid('agent began');
    child.kill('SIGKILL');
    await ended;
    await whileSupervised(async () => {
      await isSaid('plane began', 2);
      await isSaid('agent began', 2);
    });
    for (const name of ['agent', 'plane'])
      expect(said().filter((line) => line === `${name} ended`)).toHaveLength(2);
  });
});
