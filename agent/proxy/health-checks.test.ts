import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { HealthChecks } from './health-checks.ts';

const loopback = '127.0.0.1';
const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function takenPort(): Promise<{ port: number; giveBack: () => Promise<void> }> {
  const server = createServer();
  server.listen(0, loopback);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const giveBack = async (): Promise<void> => {
    server.close();
    await once(server, 'close');
  };
  return { port, giveBack };
}

async function freePort(): Promise<number> {
  const { port, giveBack } = await takenPort();
  await giveBack();
  return port;
}

function make(isHealthy = () => true): HealthChecks {
  const checks = new HealthChecks(loopback, isHealthy);
  cleanups.push(() => checks.stop());
  return checks;
}

async function ask(port: number) {
  const response = await fetch(`http://${loopback}:${port}/healthz`);
  const { status, headers } = response;
  const weight = headers.get('x-load-balancing-endpoint-weight');
  return { status, type: headers.get('content-type'), weight, text: await response.text() };
}

describe('HealthChecks', () => {
  it('answers as Kubernetes does: 200 with endpoints here, 503 without or with rules of before', async () => {
    let isHealthy = true;
    const checks = make(() => isHealthy);
    const check = { namespace: 'default', name: 'web', port: await freePort() };
    expect(await checks.apply([{ ...check, localEndpoints: 2 }])).toEqual([]);
    expect(await ask(check.port)).toEqual({
      status: 200,
      type: 'application/json',
      weight: '2',
      text: '{\n\t"service": {\n\t\t"namespace": "default",\n\t\t"name": "web"\n\t},\n\t"localEndpoints": 2,\n\t"serviceProxyHealthy": true\n}',
    });
    isHealthy = false;
    expect(await ask(check.port)).toMatchObject({
      status: 503,
      text: expect.stringContaining('"serviceProxyHealthy": false'),
    });
    isHealthy = true;
    await checks.apply([{ ...check, localEndpoints: 0 }]);
    expect(await ask(check.port)).toMatchObject({ status: 503, weight: '0' });
    await checks.apply([]);
    await expect(ask(check.port)).rejects.toThrow('fetch failed');
  });

  it('names a port that is taken, and tries it again', async () => {
    const checks = make();
    const { port, giveBack } = await takenPort();
    const check = { namespace: 'default', name: 'web', port, localEndpoints: 1 };
    expect(await checks.apply([check])).toEqual([
      {
        message: expect.stringMatching(`Health-check port ${port} of default/web can't be opened`),
      },
    ]);
    await giveBack();
    expect(await checks.apply([check])).toEqual([]);
    expect((await ask(port)).status).toBe(200);
  });
});
