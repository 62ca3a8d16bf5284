import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LogSink } from './log-sink.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'flotilla-log-'));
});
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

it('writes on to its own file, and to no other, when the files can not be rotated', () => {
  const sink = new LogSink({ directory, name: 'agent', maxBytes: 10, keep: 1 });
  sink.write('0123456789\n');
  // What is to go is no file: as with a disk that has become read-only, nothing moves.
  mkdirSync(path.join(directory, 'agent.1.log'));
  expect(() => sink.write('lost\n')).toThrow();
  // Gets the number of a file that was closed.
  const other = path.join(directory, 'other');
  const descriptor = openSync(other, 'w');
  expect(() => sink.write('lost\n')).toThrow();
  rmSync(path.join(directory, 'agent.1.log'), { recursive: true });
  sink.write('kept\n');
  sink.close();
  closeSync(descriptor);
  expect(readFileSync(other, 'utf8')).toBe('');
  expect(readFileSync(path.join(directory, 'agent.log'), 'utf8')).toBe('kept\n');
});
