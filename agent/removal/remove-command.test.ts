// Which process is the agent of a data directory, by what the kernel shows of it.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runningAgent } from './remove-command.ts';

let root = '';

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'flotilla-proc-'));
  mkdirSync(path.join(root, 'var/agent'), { recursive: true });
  symlinkSync('var/agent', path.join(root, 'link'));
});
afterEach(() => rmSync(root, { recursive: true }));

function process(words: readonly string[]): void {
  mkdirSync(path.join(root, 'proc/4000000'), { recursive: true });
  writeFileSync(path.join(root, 'proc/4000000/cmdline'), `${words.join('\0')}\0`);
  symlinkSync(path.join(root, 'var'), path.join(root, 'proc/4000000/cwd'));
}

const main = '/opt/flotilla/agent/main.js';
const cases: { name: string; words: (folder: string) => readonly string[]; want: boolean }[] = [
  { name: 'two words', words: (folder) => [main, '--data', `${folder}/var/agent`], want: true },
  { name: 'one word', words: (folder) => [main, `--data=${folder}/var/agent`], want: true },
  { name: 'a link', words: (folder) => [main, `--data=${folder}/link`], want: true },
  { name: 'a relative path', words: () => [main, '--data', 'agent', '--no-install'], want: true },
  { name: 'a relative path in one word', words: () => [main, '--data=./agent'], want: true },
  {
    name: 'what starts a removal',
    words: (folder) => [main, '--data', `${folder}/var/agent`, '--remove'],
    want: false,
  },
  { name: 'another folder', words: (folder) => [main, '--data', `${folder}/var`], want: false },
  { name: 'no folder', words: () => [main], want: false },
  { name: 'another program', words: () => ['/bin/ls', '--data=agent'], want: false },
];
it.each(cases)('sees an agent that runs, told its folder by $name', async ({ words, want }) => {
  process(['/usr/bin/node', ...words(root)]);
  const found = await runningAgent(path.join(root, 'var/agent'), path.join(root, 'proc'));
  expect(found).toBe(want ? 4_000_000 : undefined);
});
