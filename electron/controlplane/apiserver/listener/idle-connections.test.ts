import { mkdtemp, rm } from 'node:fs/promises';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect } from 'node:tls';
import { expect, it } from 'vitest';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import { ClusterPki } from '#platform/pki.ts';
import { ApiServer } from './server.ts';

it('an idle connection of HTTP/1.1 stays as long as in Kubernetes', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'flotilla-idle-'));
  const pki = await ClusterPki.open({ directory, clock: systemClock, random: systemRandom });
  const server = new ApiServer({
    handler: async () => ({ status: 200, headers: {}, body: 'ok' }),
    certificate: await pki.apiServer({ dnsNames: [], ipAddresses: [] }),
    caPem: pki.caPem,
    clock: systemClock,
    logger: silentLogger,
  });
  const port = await server.start({ host: '127.0.0.1', port: 0 });
  const socket = connect({ host: '127.0.0.1', port, ca: pki.caPem });
  socket.write('GET /version HTTP/1.1\r\nHost: x\r\n\r\n');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  await server.stop();
  await rm(directory, { recursive: true });
  expect(answer.toString()).toMatch(/\r\nkeep-alive: timeout=90\r\n/i);
});
