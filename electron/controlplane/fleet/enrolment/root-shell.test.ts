import { describe, expect, it } from 'vitest';
import { RemoteError, type Remote, type RunResult, type StdinPart } from './remote.ts';
import { outputOf, rootShell, trySudo } from './root-shell.ts';

interface Asked {
  readonly line: readonly string[];
  readonly stdin: readonly StdinPart[] | undefined;
}

function recorder(answer: Partial<RunResult> = {}): { remote: Remote; asked: Asked[] } {
  const asked: Asked[] = [];
  const remote: Remote = {
    ownAddress: '',
    reaches: () => Promise.resolve(true),
    close: () => undefined,
    run(program, args, { stdin } = {}) {
      asked.push({ line: [program, ...args], stdin });
      return Promise.resolve({ code: 0, stdout: '', stderr: '', ...answer });
    },
  };
  return { remote, asked };
}

describe('a program as root', () => {
  const cases = [
    ['root', ['sh', '-c', 'text', 'sh', 'arg'], ['data']],
    ['sudo', ['sudo', '-n', '--', 'sh', '-c', 'text', 'sh', 'arg'], ['data']],
    [
      'sudo-with-password',
      ['sudo', '-k', '-S', '-p', '', '--', 'sh', '-c', 'text', 'sh', 'arg'],
      ['secret\n', 'data'],
    ],
  ] as const;
  it.each(cases)('by %s', async (rights, line, stdin) => {
    const { remote, asked } = recorder();
    await rootShell(remote, rights, 'secret')('text', ['arg'], { stdin: ['data'] });
    expect(asked).toEqual([{ line, stdin }]);
  });
});

describe('trying the password', () => {
  const cases = [
    ['accepted', 0, ''],
    [
      'wrong-password',
      1,
      'Sorry, try again.\nsudo: no password was provided\nsudo: 1 incorrect password attempt',
    ],
    ['not-allowed', 1, 'bob is not in the sudoers file.'],
    ['not-allowed', 1, 'Sorry, user bob is not allowed to execute /usr/bin/true as root on pi.'],
    ['needs-terminal', 1, 'sudo: sorry, you must have a tty to run sudo'],
  ] as const;
  it.each(cases)('%s', async (want, code, stderr) => {
    const { remote, asked } = recorder({ code, stderr });
    expect([await trySudo(remote, 'secret'), asked[0]?.stdin]).toEqual([want, ['secret\n']]);
  });
});

it('says that it is sudo which does not answer', async () => {
  const { remote } = recorder();
  const hangs = {
    ...remote,
    run: () => Promise.reject(new RemoteError('it took longer than 30 s')),
  };
  await expect(trySudo(hangs, 'secret')).rejects.toThrow(
    'sudo there does not answer: it took longer than 30 s',
  );
});

describe('what it printed', () => {
  it.each([
    [{ stderr: 'first\nsecond\n\nthird\nfourth\n' }, 'second; third; fourth'],
    [{ stdout: 'only here' }, 'only here'],
    [{}, 'it ended with 2'],
    [{ stderr: '\u001B[31mred\u001B[0m' }, '[31mred [0m'],
  ])('or why it failed: %o', async (said, want) => {
    const result = { code: 2, stdout: '', stderr: '', ...said };
    await expect(outputOf(Promise.resolve(result))).rejects.toThrow(want);
  });
});
