import { describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import { endSentence, execPath, targetLabel, terminalTargets } from './terminal.ts';

function podOf(name: string, ...containers: [name: string, isRunning: boolean][]): Pod {
  const whole = { image: '', imageID: '', ready: true, restartCount: 0 };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'home' },
    spec: { containers: [] },
    status: {
      containerStatuses: containers.map(([container, isRunning]) => ({
        ...whole,
        name: container,
        state: isRunning ? { running: {} } : { waiting: {} },
      })),
    },
  };
}

describe('where a terminal can be opened', () => {
  it('is what runs; a container is named where a pod has several', () => {
    const targets = terminalTargets([
      podOf('a', ['web', true]),
      podOf('b', ['web', true], ['log', true], ['off', false]),
    ]);
    expect(targets.map((target) => targetLabel(target, targets))).toEqual([
      'a',
      'b · web',
      'b · log',
    ]);
  });
});

describe('the request', () => {
  it('asks for a shell in a terminal', () => {
    const target = { namespace: 'home', pod: 'a', container: 'web' };
    expect(execPath(target, 'sh')).toBe(
      '/api/v1/namespaces/home/pods/a/exec?container=web&stdin=true&stdout=true&tty=true&stderr=false&command=sh',
    );
  });
});

describe('the end of a session', () => {
  const exit = (code: string) => ({
    status: 'Failure',
    details: { causes: [{ reason: 'ExitCode', message: code }] },
  });
  const cases = [
    { status: undefined, said: '', want: 'The connection broke.' },
    { status: { status: 'Success' }, said: '', want: 'The shell has ended.' },
    { status: exit('3'), said: '', want: 'The shell has ended (3).' },
    { status: exit('126'), said: '', want: 'The shell has ended (126).' },
    {
      status: exit('127'),
      said: 'exec: "bash": executable file not found in $PATH',
      want: 'There is no such shell in this container.',
    },
    {
      status: { status: 'Failure', message: 'container not found ("web")' },
      said: '',
      want: 'container not found ("web")',
    },
  ];
  it.each(cases)('$want', ({ status, said, want }) => {
    expect(endSentence(status, said)).toBe(want);
  });
});
