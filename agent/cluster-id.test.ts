import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import type { Transport, TransportResponse } from '#kube/client/transport.ts';
import { forbiddenPath, unauthorized } from '#kube/machinery/status.ts';
import { HeldTransport, readClusterId, type ClusterId } from './cluster-id.ts';

let folder: string;
let clock: ManualClock;
let others: number;
let ended: PromiseWithResolvers<void>;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-cluster-id-'));
  clock = new ManualClock();
  others = 0;
  ended = Promise.withResolvers();
});
afterEach(() => rmSync(folder, { recursive: true }));

type Get = (signal: AbortSignal) => Promise<{ metadata: { uid: string } }>;

function read(get: Get): Promise<ClusterId> {
  const client = {
    get: (_resource: unknown, _ref: unknown, { signal }: { signal: AbortSignal }) => get(signal),
  } as unknown as Pick<RestClient, 'get'>;
  const { signal } = new AbortController();
  const onOther = (): void => {
    others++;
    ended.resolve();
  };
  return readClusterId(client, folder, { clock, signal, logger: silentLogger, onOther });
}

const says =
  (uid: string): Get =>
  async () => ({ metadata: { uid } });
const file = (): string => path.join(folder, 'cluster-id');
const settled = (): Promise<void> => new Promise((done) => setImmediate(done));

async function isConfirmed({ confirmed }: ClusterId): Promise<boolean> {
  let is = false;
  void confirmed.then(() => (is = true));
  await settled();
  return is;
}

it('is asked for and kept', async () => {
  const found = await read(says('home'));
  expect([found.uid, await isConfirmed(found)]).toEqual(['home', true]);
  expect(readFileSync(file(), 'utf8')).toBe('home\n');
});

it('is at once what is kept, and confirmed when the API server answers', async () => {
  writeFileSync(file(), 'home\n');
  const answer = Promise.withResolvers<{ metadata: { uid: string } }>();
  const found = await read(() => answer.promise);
  expect([found.uid, await isConfirmed(found)]).toEqual(['home', false]);
  answer.resolve({ metadata: { uid: 'home' } });
  expect([await isConfirmed(found), others]).toEqual([true, 0]);
});

it('is asked for again of a server that is away or takes a question and says nothing', async () => {
  writeFileSync(file(), 'home\n');
  let asked = 0;
  const found = await read((signal) => {
    if (++asked === 1) throw new Error('away');
    if (asked > 2) return Promise.resolve({ metadata: { uid: 'home' } });
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Error('given up')));
    });
  });
  for (const ms of [100, 30_000, 200]) {
    expect(await isConfirmed(found)).toBe(false);
    clock.advance(ms);
  }
  expect(await isConfirmed(found)).toBe(true);
});

it('is kept and never confirmed when it was another’s: what began with it must end', async () => {
  writeFileSync(file(), 'home\n');
  const found = await read(says('school'));
  await ended.promise;
  expect([found.uid, await isConfirmed(found), others]).toEqual(['home', false, 1]);
  expect(readFileSync(file(), 'utf8')).toBe('school\n');
});

it('is not held up by a server that does not tell this machine', async () => {
  writeFileSync(file(), 'home\n');
  for (const refusal of [forbiddenPath('no'), unauthorized()])
    expect(await isConfirmed(await read(() => Promise.reject(refusal)))).toBe(true);
});

it('is waited for where none is kept', async () => {
  let asked = 0;
  const found = await read(async () => {
    if (++asked === 1) {
      setImmediate(() => clock.advance(100));
      throw new Error('away');
    }
    return { metadata: { uid: 'home' } };
  });
  expect(found.uid).toBe('home');
});

describe('a transport that is held', () => {
  const answer: TransportResponse = { status: 200, headers: {}, body: new Uint8Array() };
  const inner = { request: async () => answer } as unknown as Transport;

  it('passes on what was asked before it might', async () => {
    const may = Promise.withResolvers<void>();
    const asked = new HeldTransport(inner, may.promise).request({ method: 'GET', path: '/' });
    may.resolve();
    expect(await asked).toBe(answer);
  });

  it('gives up with who asked, and keeps nothing of it', async () => {
    const mayPass = new Promise<void>(() => {});
    // A promise keeps whoever waits for it, for as long as it lasts.
    const waits = vi.spyOn(mayPass, 'then');
    const never = new HeldTransport(inner, mayPass);
    const { signal, stop } = stoppable();
    const asked = never.request({ method: 'GET', path: '/', signal });
    stop();
    await expect(asked).rejects.toThrow('the request was aborted');
    await expect(never.stream({ method: 'GET', path: '/', signal })).rejects.toThrow('aborted');
    expect(waits).toHaveBeenCalledTimes(1);
  });
});

function stoppable(): { readonly signal: AbortSignal; readonly stop: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, stop: () => controller.abort() };
}
