import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import type { KeyPairPem } from '#platform/certificate.ts';
import { ClusterPki } from '#platform/pki.ts';
import type { ApiHandler } from '../http.ts';
import { ApiServer } from './server.ts';

let directory: string;
let pki: ClusterPki;
let admin: KeyPairPem;
let server: ApiServer;
let port: number;
let handler: ApiHandler;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flotilla-upgrade-'));
  pki = await ClusterPki.open({ directory, clock: systemClock, random: systemRandom });
  admin = await pki.admin();
});
afterAll(() => rm(directory, { recursive: true, force: true }));

beforeEach(async () => {
  server = new ApiServer({
    handler: (request) => handler(request),
    certificate: await pki.apiServer({ dnsNames: [], ipAddresses: [] }),
    caPem: pki.caPem,
    clock: systemClock,
    logger: silentLogger,
  });
  port = await server.start({ host: '127.0.0.1', port: 0 });
});
afterEach(() => server.stop());

describe('connections that leave HTTP', () => {
  function upgrade(): Promise<{ socket: Socket; headers: IncomingMessage['headers'] }> {
    return new Promise((resolve, reject) => {
      const outgoing = httpsRequest({
        host: '127.0.0.1',
        port,
        path: '/x',
        method: 'POST',
        ca: pki.caPem,
        cert: admin.certPem,
        key: admin.keyPem,
        headers: { connection: 'Upgrade', upgrade: 'SPDY/3.1' },
        agent: false,
      });
      outgoing.once('upgrade', ({ headers }, socket) => resolve({ socket, headers }));
      outgoing.once('error', reject);
      outgoing.end();
    });
  }

  async function start() {
    const [near, far] = duplexPair();
    handler = async () => ({
      status: 101,
      headers: { connection: 'Upgrade', upgrade: 'SPDY/3.1' },
      connection: near,
    });
    const { socket, headers } = await upgrade();
    return { socket, headers, far };
  }

  it('are joined to what the handler gives, both ways', async () => {
    const { socket, headers, far } = await start();
    expect(headers.upgrade).toBe('SPDY/3.1');
    socket.write('ping');
    expect(String((await once(far, 'data'))[0])).toBe('ping');
    far.write('pong');
    expect(String((await once(socket, 'data'))[0])).toBe('pong');
    socket.destroy();
  });

  it('end on both sides when the client goes, when the other end goes, when the server stops', async () => {
    const first = await start();
    first.far.resume();
    first.socket.destroy();
    await once(first.far, 'end');
    const second = await start();
    second.socket.resume();
    second.far.destroy();
    await once(second.socket, 'close');
    const third = await start();
    third.socket.resume();
    third.socket.on('error', () => undefined);
    await Promise.all([once(third.socket, 'close'), server.stop()]);
  });
});
