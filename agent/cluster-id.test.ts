import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { readClusterId } from './cluster-id.ts';

let folder: string;
let clock: ManualClock;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-cluster-id-'));
  clock = new ManualClock();
});
afterEach(() => rmSync(folder, { recursive: true }));

type Get = (signal: AbortSignal) => Promise<{ metadata: { uid: string } }>;

function read(get: Get): Promise<string> {
  const client = {
    get: (_resource: unknown, _ref: unknown, { signal }: { signal: AbortSignal }) => get(signal),
  } as unknown as Pick<RestClient, 'get'>;
  const { signal } = new AbortController();
  return readClusterId(client, folder, { clock, signal, logger: silentLogger });
}

/** Takes the request, and says nothing until it is given up. */
const hangs: Get = (signal) =>
  new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('given up')));
    clock.advance(2000);
  });

const file = (): string => path.join(folder, 'cluster-id');

it('is asked for and kept', async () => {
  expect(await read(async () => ({ metadata: { uid: 'home' } }))).toBe('home');
  expect(readFileSync(file(), 'utf8')).toBe('home\n');
});

it('is what is kept when nobody answers within two seconds', async () => {
  writeFileSync(file(), 'home\n');
  expect(await read(hangs)).toBe('home');
});

it('is waited for where none is kept', async () => {
  let asked = 0;
  const answer = read(async () => {
    if (++asked === 1) {
      setImmediate(() => clock.advance(100));
      throw new Error('away');
    }
    return { metadata: { uid: 'home' } };
  });
  expect(await answer).toBe('home');
});
