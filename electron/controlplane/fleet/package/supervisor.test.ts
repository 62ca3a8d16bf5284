// What a machine does when an agent is tried out, by a real sh: agents are a few lines of it.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
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
  mkdirSync(folder);
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
