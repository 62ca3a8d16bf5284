import { describe, expect, it } from 'vitest';
import type { EnrolmentPhase, EnrolmentStep, Machine } from '#kube/api/fleet.ts';
import {
  emptyLogin,
  goingWords,
  guessUser,
  lackOf,
  machineWords,
  planWords,
  resumable,
  shareDone,
  specOf,
  stageOf,
} from './enrolment.ts';

function machine(status: Machine['status']): Machine {
  const metadata = { name: 'one' };
  return {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'Machine',
    metadata,
    ...(status && { status }),
  };
}

function step(state: EnrolmentStep['state'], more: Partial<EnrolmentStep> = {}): EnrolmentStep {
  return { name: 'one', title: 'Copy the agent', state, ...more };
}

describe('guessUser', () => {
  const cases = [
    { name: 'who logged in last', status: { vendor: 'Raspberry Pi' }, last: 'anna', want: 'anna' },
    { name: "a Pi's old user", status: { hostNames: ['raspberrypi'] }, last: '', want: 'pi' },
    { name: "Ubuntu's", status: { operatingSystem: 'Ubuntu 24.04' }, last: '', want: 'ubuntu' },
  ];
  it.each(cases)('takes $name', ({ status, last, want }) => {
    expect(guessUser(machine(status), last)).toBe(want);
  });
});

describe('what is sent', () => {
  const typed = {
    ...emptyLogin('pi'),
    password: 'secret',
    privateKey: '  KEY \n',
    passphrase: 'phrase',
    sudoPassword: 'root',
    nodeName: 'kitchen',
  };
  const rest = { user: 'pi', sudoPassword: 'root', nodeName: 'kitchen' };
  const cases = [
    { method: 'password', want: { ...rest, password: 'secret' } },
    { method: 'key', want: { ...rest, privateKey: 'KEY\n', passphrase: 'phrase' } },
    { method: 'agent', want: { ...rest, useAgent: true } },
  ] as const;
  it.each(cases)('by $method has none of the secrets of the other ways', ({ method, want }) => {
    expect(specOf('Apply', { ...typed, method }, { hostKey: 'SHA256:x' })).toEqual({
      phase: 'Apply',
      hostKey: 'SHA256:x',
      ...want,
    });
  });

  it('leaves out what nobody entered', () => {
    expect(specOf('Inspect', { ...emptyLogin('pi'), password: 'x' })).toEqual({
      phase: 'Inspect',
      user: 'pi',
      password: 'x',
    });
  });

  it('lacks one thing at a time, said in words', () => {
    const login = emptyLogin('');
    const lacks = [
      lackOf(login),
      lackOf({ ...login, user: 'pi' }),
      lackOf({ ...login, user: 'pi', method: 'key' }),
      lackOf({ ...login, user: 'pi', method: 'agent' }),
    ];
    expect(lacks).toEqual(['It needs a user', 'It needs a password', 'It needs a key', undefined]);
  });
});

describe('stageOf', () => {
  const stages: Readonly<Record<EnrolmentPhase, string>> = {
    HostKeyUnknown: 'login',
    LoginRefused: 'login',
    Planned: 'plan',
    Obstructed: 'obstructed',
    Running: 'going',
    Rebooting: 'going',
    Failed: 'failed',
    Done: 'done',
  };
  it.each(Object.entries(stages))('shows for %s the stage %s', (phase, want) => {
    expect(stageOf({ phase: phase as EnrolmentPhase }, undefined)).toBe(want);
  });

  it('follows the object rather than the answer, and begins by asking', () => {
    const stagesSeen = [
      stageOf({ phase: 'Running' }, { phase: 'Failed' }),
      stageOf(undefined, undefined),
    ];
    expect(stagesSeen).toEqual(['failed', 'knocking']);
  });

  it('goes on with an attempt that runs or broke off, not with one that is over', () => {
    const phases = ['Running', 'Rebooting', 'Failed', 'Done'] as const;
    const found = phases.map((phase) => resumable(machine({ enrolment: { phase } }))?.phase);
    expect(found).toEqual(['Running', 'Rebooting', 'Failed', undefined]);
  });
});

describe('words', () => {
  it('count the steps that are left, and say when the machine restarts', () => {
    const plans = [
      planWords([step('Waiting'), step('Waiting', { needsReboot: true }), step('Skipped')]),
      planWords([step('Waiting'), step('Skipped', { needsReboot: true })]),
      planWords([step('Skipped')]),
    ];
    expect(plans).toEqual([
      '2 things will be done, and it restarts once:',
      '1 thing will be done:',
      'All is there already: it only has to join.',
    ]);
  });

  it('tell the step that goes on', () => {
    const steps = [step('Done'), step('Running', { percent: 39.6 })];
    expect([
      goingWords({ phase: 'Running', steps }),
      goingWords({ phase: 'Running', steps: [step('Running')] }),
      goingWords({ phase: 'Rebooting', steps }),
      goingWords({ phase: 'Running' }),
    ]).toEqual([
      'Copy the agent, 40 %',
      'Copy the agent',
      'It restarts: this takes a minute or two',
      'Begins',
    ]);
  });

  it('tell what the machine is, as far as it is known', () => {
    const facts = { model: 'Pi 4', architecture: 'aarch64', memoryBytes: 2 ** 32 };
    expect(machineWords({ phase: 'Planned', machine: facts })).toBe(
      'Pi 4 · ARM, 64 bit · 4 GB of memory',
    );
  });

  it('add up how far it is: what was so already counts as done', () => {
    const steps = [
      step('Done'),
      step('Skipped'),
      step('Running', { percent: 50 }),
      step('Waiting'),
    ];
    expect([shareDone({ phase: 'Running', steps }), shareDone({ phase: 'Running' })]).toEqual([
      0.625, 0,
    ]);
  });
});
