import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { keptPort } from './kept-port.ts';

let file = '';
beforeEach(() => {
  file = path.join(mkdtempSync(path.join(tmpdir(), 'flotilla-port-')), 'port');
});
afterEach(() => rmSync(path.dirname(file), { recursive: true }));

it('is the same at each start, and another one, from then on, where a program has taken it', async () => {
  const first = await keptPort(file, '127.0.0.1');
  expect(await keptPort(file, '127.0.0.1')).toBe(first);
  const other = createServer().listen(first, '127.0.0.1');
  await once(other, 'listening');
  const second = await keptPort(file, '127.0.0.1');
  expect(second).not.toBe(first);
  other.close();
  await once(other, 'close');
  expect(await keptPort(file, '127.0.0.1')).toBe(second);
});

it('is one all the same where what is kept is nonsense', async () => {
  writeFileSync(file, 'x'.repeat(99));
  expect(await keptPort(file, '127.0.0.1')).toBeGreaterThan(0);
});
