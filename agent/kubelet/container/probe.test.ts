import { createServer, type RequestListener } from 'node:http';
import {
  createServer as createTcpServer,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { Container, HTTPGetAction } from '#kube/api/core.ts';
import { RuntimeError, type ExecResult } from '../../runtime/runtime.ts';
import { portNumber, ProbeRunner, type ProbeTarget } from './probe.ts';

const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await close(server);
});

function close(server: Server): Promise<void> {
  return new Promise((resolve) => void server.close(() => resolve()));
}

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** Nobody listens there. */
async function closedPort(): Promise<number> {
  const server = createTcpServer();
  const port = await listen(server);
  await close(server);
  return port;
}

const container: Container = { name: 'web', ports: [{ name: 'http', containerPort: 8080 }] };
const target: ProbeTarget = { container, containerId: 'c', podIp: '127.0.0.1' };

function runnerWith(exec: () => Promise<ExecResult>): ProbeRunner {
  return new ProbeRunner({ exec });
}
const runner = runnerWith(() => Promise.reject(new Error('not asked')));

async function get(answer: RequestListener, more: Partial<HTTPGetAction> = {}) {
  const port = await listen(createServer(answer));
  return { port, outcome: await runner.run({ httpGet: { port, ...more } }, target, 5_000) };
}

describe('an HTTP probe', () => {
  it.each([200, 204, 304])('takes %i as success', async (status) => {
    const { outcome } = await get((_request, response) => response.writeHead(status).end());
    expect(outcome.isSuccess).toBe(true);
  });

  it.each([400, 404, 503])('takes %i as failure', async (status) => {
    const { outcome } = await get((_request, response) => response.writeHead(status).end());
    const output = `HTTP probe failed with statuscode: ${status}`;
    expect(outcome).toEqual({ isSuccess: false, output });
  });

  it('follows redirects on the same host, with its headers', async () => {
    const asked: unknown[] = [];
    const { outcome } = await get(
      ({ url, headers }, response) => {
        asked.push([url, headers.host]);
        const location = new Map([
          ['/', '/a?b=c'],
          ['/a?b=c', 'last'],
        ]).get(url ?? '');
        if (location !== undefined) response.setHeader('location', location);
        response.writeHead(location === undefined ? 503 : 302).end();
      },
      { httpHeaders: [{ name: 'Host', value: 'shop.example' }] },
    );
    const host = 'shop.example';
    expect(asked).toEqual([
      ['/', host],
      ['/a?b=c', host],
      ['/last', host],
    ]);
    expect(outcome).toEqual({
      isSuccess: false,
      output: 'HTTP probe failed with statuscode: 503',
    });
  });

  it('takes a redirect to another host as success, and warns', async () => {
    const location = 'http://elsewhere.invalid/';
    const { outcome } = await get((_request, response) =>
      response.writeHead(301, { location }).end('moved'),
    );
    const warning = 'Probe terminated redirects, Response body: moved';
    expect(outcome).toEqual({ isSuccess: true, output: '', warning });
  });

  it('gives up after ten redirects', async () => {
    let count = 0;
    const { outcome } = await get((_request, response) => {
      count++;
      response.writeHead(307, { location: '/again' }).end();
    });
    expect(count).toBe(10);
    expect(outcome.output).toMatch(/^Get "http:.*\/again": stopped after 10 redirects$/);
  });

  it('asks for the path with the headers it was given', async () => {
    let asked: unknown;
    const httpHeaders = [
      { name: 'Host', value: 'shop.example' },
      { name: 'X-Probe', value: 'yes' },
    ];
    await get(
      ({ url, headers }, response) => {
        asked = [url, headers.host, headers['x-probe'], headers['user-agent']];
        response.end();
      },
      { path: '/healthz?deep=1', httpHeaders },
    );
    expect(asked).toEqual(['/healthz?deep=1', 'shop.example', 'yes', 'kube-probe/1.35']);
  });

  it('does not wait for the end of a large body', async () => {
    const { outcome } = await get((_request, response) => {
      response.write('x'.repeat(100_000));
    });
    expect(outcome.isSuccess).toBe(true);
  });

  it.each([200, 503])('that hangs in the middle of its body is a failure: %i', async (status) => {
    const server = createServer((_request, response) => {
      response.writeHead(status).write('so far');
    });
    const port = await listen(server);
    const outcome = await runner.run({ httpGet: { port } }, target, 50);
    server.closeAllConnections();
    const why = 'Client.Timeout or context cancellation while reading body';
    const output = `context deadline exceeded (${why})`;
    expect(outcome).toEqual({ isSuccess: false, output });
  });

  it('that breaks off in the middle of its body is a failure', async () => {
    const { outcome } = await get((_request, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('so far', () => {
        response.socket?.destroy();
      });
    });
    expect(outcome).toEqual({ isSuccess: false, output: 'unexpected EOF' });
  });

  it('says what is wrong with the connection as Kubernetes does', async () => {
    const port = await closedPort();
    const refused = await runner.run({ httpGet: { port } }, target, 5_000);
    const url = `http://127.0.0.1:${port}/`;
    const output = `Get "${url}": dial tcp 127.0.0.1:${port}: connect: connection refused`;
    expect(refused).toEqual({ isSuccess: false, output });
    const { port: rude, outcome } = await get((request) => request.socket.destroy());
    expect(outcome).toEqual({ isSuccess: false, output: `Get "http://127.0.0.1:${rude}/": EOF` });
  });

  it('asks the host it names instead of the pod', async () => {
    const port = await listen(createServer((_request, response) => response.end()));
    const elsewhere = { ...target, podIp: '127.0.0.2' };
    const action = { httpGet: { port, host: '127.0.0.1' } };
    expect((await runner.run(action, elsewhere, 5_000)).isSuccess).toBe(true);
  });
});

describe('a TCP probe', () => {
  it('succeeds where somebody takes the connection', async () => {
    const port = await listen(createTcpServer((socket: Socket) => void socket.resume()));
    const outcome = await runner.run({ tcpSocket: { port } }, target, 5_000);
    expect(outcome.isSuccess).toBe(true);
  });

  it('fails where nobody does', async () => {
    const port = await closedPort();
    const output = `dial tcp 127.0.0.1:${port}: connect: connection refused`;
    const outcome = await runner.run({ tcpSocket: { port } }, target, 5_000);
    expect(outcome).toEqual({ isSuccess: false, output });
  });
});

describe('an exec probe', () => {
  const cases = [
    {
      name: 'exit 0',
      exec: async () => ({ exitCode: 0, output: 'fine' }),
      want: { isSuccess: true, output: 'fine' },
    },
    {
      name: 'another exit code',
      exec: async () => ({ exitCode: 2, output: 'cat: no such file' }),
      want: { isSuccess: false, output: 'cat: no such file' },
    },
    {
      name: 'too late',
      exec: () => Promise.reject(new RuntimeError('timeout', 'late')),
      want: { isSuccess: false, output: 'command "cat /ok" timed out' },
    },
    {
      name: 'an engine that fails',
      exec: () => Promise.reject(new RuntimeError('unavailable', 'the engine stopped')),
      want: { isSuccess: false, output: 'the engine stopped' },
    },
  ];
  it.each(cases)('$name', async ({ exec, want }) => {
    const action = { exec: { command: ['cat', '/ok'] } };
    expect(await runnerWith(exec).run(action, target, 1_000)).toEqual(want);
  });
});

describe('the port of a probe', () => {
  it('is a number, a number as text, or the name of a port', () => {
    expect([80, '80', 'http'].map((port) => portNumber(port, container))).toEqual([80, 80, 8080]);
    expect(() => portNumber('grpc', container)).toThrow(`couldn't find port: "grpc"`);
  });
});
