import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createSilent, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { systemClock } from '#kube/base/clock.ts';
import { systemRandom } from '#kube/base/random.ts';
import type { KeyPairPem } from '#platform/certificate.ts';
import { ClusterPki } from '#platform/pki.ts';
import { HttpsKubeletClient } from './kubelet-client.ts';

let directory: string;
let pki: ClusterPki;
let certificate: KeyPairPem;
let client: HttpsKubeletClient | undefined;
const agents: Server[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flotilla-kubelet-'));
  pki = await ClusterPki.open({
    directory: join(directory, 'pki'),
    clock: systemClock,
    random: systemRandom,
  });
  certificate = await pki.kubeletClient();
});
afterAll(() => rm(directory, { recursive: true, force: true }));
afterEach(async () => {
  client?.close();
  for (const agent of agents.splice(0)) {
    agent.closeAllConnections();
    await new Promise((resolve) => agent.close(resolve));
  }
});

/** An agent of `nodeName`, demanding our client certificate; its port. */
async function startAgent(
  nodeName: string,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<number> {
  const serving = await pki.nodeServing(join(directory, nodeName), nodeName);
  const agent = createServer(
    {
      cert: serving.certPem,
      key: serving.keyPem,
      ca: pki.caPem,
      requestCert: true,
      rejectUnauthorized: true,
    },
    answer,
  );
  agents.push(agent);
  await new Promise<void>((resolve) => agent.listen(0, '127.0.0.1', resolve));
  return (agent.address() as AddressInfo).port;
}

function node(name: string, port: number, ...addresses: [type: string, address: string][]): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    spec: {},
    status: {
      addresses: addresses.map(([type, address]) => ({ type, address })),
      daemonEndpoints: { kubeletEndpoint: { Port: port } },
    },
  };
}

function connect(found: Node | undefined, localNodeName?: string): HttpsKubeletClient {
  client = new HttpsKubeletClient({
    getNode: async () => found,
    certificate,
    caPem: pki.caPem,
    ...(localNodeName === undefined ? {} : { localNodeName }),
  });
  return client;
}

function ask(path: string, query = ''): Parameters<HttpsKubeletClient['stream']>[1] {
  const signal = new AbortController().signal;
  return { method: 'GET', path, query: new URLSearchParams(query), signal };
}

async function textOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  let text = '';
  for await (const chunk of chunks) text += Buffer.from(chunk).toString();
  return text;
}

describe("reaching a node's agent", () => {
  it('goes to the address and port of the Node, as the API server', async () => {
    const port = await startAgent('pi', (request, response) => {
      const { subject } = (request.socket as TLSSocket).getPeerCertificate();
      response.writeHead(200, { 'content-type': 'text/plain' });
      response.end(`${request.url} by ${String(subject.CN)}`);
    });
    const found = node('pi', port, ['Hostname', 'pi'], ['InternalIP', '127.0.0.1']);
    const answer = await connect(found).stream('pi', ask('/containerLogs/a/web/c', 'tailLines=5'));
    expect([answer.status, answer.headers['content-type'], await textOf(answer.chunks)]).toEqual([
      200,
      'text/plain',
      '/containerLogs/a/web/c?tailLines=5 by kube-apiserver-kubelet-client',
    ]);
  });

  it("hands on the agent's own errors", async () => {
    const port = await startAgent('pi', (_request, response) => {
      response.writeHead(400).end('container "c" is waiting to start');
    });
    const answer = await connect(node('pi', port, ['InternalIP', '127.0.0.1'])).stream(
      'pi',
      ask('/'),
    );
    expect([answer.status, await textOf(answer.chunks)]).toEqual([
      400,
      'container "c" is waiting to start',
    ]);
  });

  it('tries the addresses in order, and loopback first for the node on this machine', async () => {
    const port = await startAgent('pi', (_request, response) => response.end('here'));
    // Nobody listens on 127.0.0.2: refused at once.
    const remote = node('pi', port, ['InternalIP', '127.0.0.2'], ['ExternalIP', '127.0.0.1']);
    const local = node('pi', port, ['InternalIP', '127.0.0.2']);
    const first = await connect(remote).stream('pi', ask('/'));
    expect(await textOf(first.chunks)).toBe('here');
    client?.close();
    const second = await connect(local, 'pi').stream('pi', ask('/'));
    expect(await textOf(second.chunks)).toBe('here');
  });

  it('waits at an address that is silent as long as it should, and goes on to the next', async () => {
    const port = await startAgent('pi', (_request, response) => response.end('here'));
    const silent = createSilent((socket) => void socket.on('error', () => undefined).resume());
    await new Promise<void>((resolve) => silent.listen(port, '127.0.0.2', resolve));
    const found = node('pi', port, ['InternalIP', '127.0.0.2'], ['ExternalIP', '127.0.0.1']);
    const request = { ...ask('/'), method: 'PUT', addressTimeoutMs: 50 } as const;
    const answer = await connect(found).stream('pi', request);
    expect(await textOf(answer.chunks)).toBe('here');
    await new Promise((resolve) => silent.close(resolve));
  });

  it('hands a body on as it comes, whole also after an address that is not there', async () => {
    const port = await startAgent('pi', (request, response) => void request.pipe(response));
    const found = node('pi', port, ['InternalIP', '127.0.0.2'], ['ExternalIP', '127.0.0.1']);
    const body = Readable.from(['first, ', 'then the rest']);
    const asked = { ...ask('/images/load'), method: 'POST' as const, body };
    const answer = await connect(found).stream('pi', asked);
    expect(await textOf(answer.chunks)).toBe('first, then the rest');
  });

  it('gives up when the body breaks off', async () => {
    const port = await startAgent('pi', () => {});
    const body = Readable.from(
      (async function* () {
        yield 'first';
        throw new Error('the sender went away');
      })(),
    );
    const asked = { ...ask('/images/load'), method: 'POST' as const, body };
    const pending = connect(node('pi', port, ['InternalIP', '127.0.0.1'])).stream('pi', asked);
    await expect(pending).rejects.toThrow('the sender went away');
  });

  it("refuses an agent with another node's certificate", async () => {
    const port = await startAgent('impostor', (_request, response) => response.end('mine'));
    const pending = connect(node('pi', port, ['InternalIP', '127.0.0.1'])).stream('pi', ask('/'));
    await expect(pending).rejects.toMatchObject({ code: 503, reason: 'ServiceUnavailable' });
  });

  const absent = [
    { name: 'there is no such node', found: undefined, want: { code: 404, reason: 'NotFound' } },
    {
      name: 'it has not registered its port',
      found: node('pi', 0, ['InternalIP', '127.0.0.1']),
      want: { code: 503, message: 'node "pi" has not said yet where its agent listens' },
    },
    {
      name: 'nobody listens',
      found: node('pi', 1, ['InternalIP', '127.0.0.1']),
      want: { code: 503 },
    },
  ];
  for (const { name, found, want } of absent)
    it(`says so when ${name}`, async () => {
      await expect(connect(found).stream('pi', ask('/'))).rejects.toMatchObject(want);
    });

  it('ends the stream quietly when the client goes, and hangs up on the agent', async () => {
    const gone = Promise.withResolvers<void>();
    const port = await startAgent('pi', (request, response) => {
      response.write('first\n');
      request.once('close', () => gone.resolve());
    });
    const stop = new AbortController();
    const found = node('pi', port, ['InternalIP', '127.0.0.1']);
    const request = { ...ask('/'), signal: stop.signal };
    const { chunks } = await connect(found).stream('pi', request);
    const text = textOf(
      (async function* () {
        for await (const chunk of chunks) {
          yield chunk;
          stop.abort();
        }
      })(),
    );
    expect(await text).toBe('first\n');
    await gone.promise;
  });
});

describe('an upgrade', () => {
  const headers = { connection: 'Upgrade', upgrade: 'echo' };

  it('gives a connection that carries bytes both ways', async () => {
    const port = await startAgent('pi', (_request, response) => response.end());
    agents[0]?.on('upgrade', (request: IncomingMessage, socket: Socket) => {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: Upgrade\r\n\r\n' +
          `${request.url} `,
      );
      socket.pipe(socket);
    });
    const found = node('pi', port, ['InternalIP', '127.0.0.1']);
    const answer = await connect(found).upgrade('pi', { ...ask('/exec/a'), headers });
    if (!('connection' in answer)) throw new Error('not upgraded');
    expect([answer.status, answer.headers['upgrade']]).toEqual([101, 'echo']);
    answer.connection.end('hello');
    expect(await textOf(answer.connection as AsyncIterable<Uint8Array>)).toBe('/exec/a hello');
  });

  it("that the agent refuses is the agent's answer", async () => {
    const port = await startAgent('pi', (_request, response) => response.end());
    agents[0]?.on('upgrade', (_request: IncomingMessage, socket: Socket) =>
      socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno'),
    );
    const found = node('pi', port, ['InternalIP', '127.0.0.1']);
    const answer = await connect(found).upgrade('pi', { ...ask('/exec/a'), headers });
    expect([answer.status, 'chunks' in answer && (await textOf(answer.chunks))]).toEqual([
      400,
      'no',
    ]);
  });

  it('of an agent that is not there says so as Kubernetes does', async () => {
    const pending = connect(node('pi', 1, ['InternalIP', '127.0.0.1'])).upgrade('pi', ask('/'));
    await expect(pending).rejects.toMatchObject({
      code: 500,
      message: 'error dialing backend: connect ECONNREFUSED 127.0.0.1:1',
    });
  });
});
