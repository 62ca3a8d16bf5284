import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { LogSink } from './log-sink.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'flotilla-log-'));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

it('rotates by size, keeps the newest files and never splits a line', () => {
  const sink = new LogSink({ directory, name: 'agent', maxBytes: 20, keep: 2 });
  for (let n = 0; n < 8; n++) sink.write(`line ${n} ....\n`);
  sink.close();
  const files = readdirSync(directory).toSorted();
  expect(files.map((file) => [file, readFileSync(path.join(directory, file), 'utf8')])).toEqual([
    ['agent.1.log', 'line 6 ....\n'],
    ['agent.2.log', 'line 5 ....\n'],
    ['agent.log', 'line 7 ....\n'],
  ]);
});

it('appends to what an earlier run left', () => {
  for (const text of ['one\n', 'two\n']) {
    const sink = new LogSink({ directory, name: 'agent' });
    sink.write(text);
    sink.close();
  }
  expect(readFileSync(path.join(directory, 'agent.log'), 'utf8')).toBe('one\ntwo\n');
});
