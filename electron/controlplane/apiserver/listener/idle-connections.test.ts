// Connections of HTTP/1.1 on which little or nothing comes.
import { mkdtemp, rm } from 'node:fs/promises';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ManualClock, systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import { ClusterPki } from '#platform/pki.ts';
import { ApiServer } from './server.ts';

let directory: string;
let server: ApiServer;
let clock: ManualClock;
let socket: TLSSocket;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'flotilla-idle-'));
  const pki = await ClusterPki.open({ directory, clock: systemClock, random: systemRandom });
  clock = new ManualClock();
  server = new ApiServer({
    handler: async () => ({ status: 200, headers: {}, body: 'ok' }),
    certificate: await pki.apiServer({ dnsNames: [], ipAddresses: [] }),
    caPem: pki.caPem,
    clock,
    logger: silentLogger,
  });
  const port = await server.start({ host: '127.0.0.1', port: 0 });
  socket = connect({ host: '127.0.0.1', port, ca: pki.caPem });
});
afterEach(async () => {
  socket.destroy();
  await server.stop();
  await rm(directory, { recursive: true });
});

async function answerTo(request: string): Promise<string> {
  socket.write(request);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  return answer.toString();
}

it('an idle connection stays as long as in Kubernetes', async () => {
  const answer = await answerTo('GET /version HTTP/1.1\r\nHost: x\r\n\r\n');
  expect(answer).toMatch(/\r\nkeep-alive: timeout=90\r\n/i);
  expect(clock.nextTimerMs()).toBeUndefined();
});

it('a body of which nobody wants the rest has a minute to come', async () => {
  const answer = await answerTo('POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc');
  expect(answer).toContain('200 OK');
  expect(clock.nextTimerMs()).toBe(60_000);
  clock.advance(60_000);
  await once(socket, 'close');
});

it('a body that comes after its answer is done with, and another request is answered', async () => {
  await answerTo('POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc');
  const next = await answerTo('defghiGET /version HTTP/1.1\r\nHost: x\r\n\r\n');
  expect(next).toContain('200 OK');
  expect(clock.nextTimerMs()).toBeUndefined();
});
