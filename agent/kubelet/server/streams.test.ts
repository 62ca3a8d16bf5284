// The streams' server as a client sees it, over plain HTTP and the fake runtime: what TLS adds is
// server.ts's, what Docker adds is test/compat's.
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { createWebSocketStream, WebSocket } from 'ws';
import type { Pod } from '#kube/api/core.ts';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { SpdyTestClient } from '../../../test/setup/spdy-client.ts';
import { FakeRuntime } from '../../runtime/fake-runtime.ts';
import { echo } from '../../runtime/fake-process.ts';
import type { PodDialer } from './pod-dialer.ts';
import { joined } from '#platform/streams/join.ts';
import { parseStreamRequest } from './stream-request.ts';
import { Streams } from './streams.ts';

const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'default', uid: 'u1' },
  spec: { containers: [{ name: 'main' }] },
};
const ref = { uid: 'u1', name: 'web', namespace: 'default' };

const ends: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

async function listen(server: Server | ReturnType<typeof createTcpServer>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends.push(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** Says what it hears in capitals; ends when its client does. */
async function startPodServer(): Promise<number> {
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes: Buffer) => socket.write(bytes.toString().toUpperCase()));
    socket.on('end', () => socket.end());
  });
  return listen(server);
}

async function start() {
  const runtime = new FakeRuntime(systemClock);
  const sandboxId = await runtime.runSandbox({
    ...({} as Parameters<FakeRuntime['runSandbox']>[0]),
    pod: ref,
    attempt: 0,
    hostNetwork: false,
  });
  runtime.addImage('image');
  const id = await runtime.createContainer({
    ...({} as Parameters<FakeRuntime['createContainer']>[0]),
    resources: { cpuShares: 2, cpuQuotaMicros: 0, memoryBytes: 0, oomScoreAdj: 0, pidsMax: 100 },
    pod: ref,
    sandboxId,
    name: 'main',
    attempt: 0,
    image: 'image',
  });
  await runtime.startContainer(id);
  const network = { open: 0 };
  const dial = async (port: number): Promise<Socket> => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    await once(socket, 'connect').catch(() => {
      throw new Error(`dial tcp4 127.0.0.1:${port}: connect: connection refused`);
    });
    return socket;
  };
  const dialer: PodDialer = {
    open() {
      network.open++;
      return { connect: dial, close: () => void network.open-- };
    },
    dialAddress: (_sandbox, port) => dial(port),
  };
  const asked = { compilers: 0 };
  const onMuchInput = (): void => void asked.compilers++;
  const common = { dialer, clock: systemClock, logger: silentLogger, onMuchInput };
  const deps = { ...common, runtime, pods: () => [pod] };
  const streams = new Streams(deps);
  const server = createServer();
  server.on(
    'upgrade',
    (request: IncomingMessage, socket: Socket, head: Buffer) =>
      void streams.serve({ request, socket, head }),
  );
  const port = await listen(server);
  ends.push(() => streams.stop());
  return { runtime, id, port, streams, network, asked };
}

async function upgrade(
  port: number,
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<{
  status: number;
  headers: IncomingMessage['headers'];
  text: string;
  socket?: Socket;
  head?: Buffer;
}> {
  const outgoing = httpRequest({
    port,
    host: '127.0.0.1',
    path,
    method: 'GET',
    headers: { connection: 'Upgrade', ...headers },
  });
  outgoing.end();
  return new Promise((resolve, reject) => {
    outgoing.once('error', reject);
    outgoing.once('upgrade', (answer, socket, head) =>
      resolve({ status: 101, headers: answer.headers, text: '', socket, head }),
    );
    outgoing.once('response', (answer) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
      answer.once('end', () =>
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }),
      );
    });
  });
}

async function spdy(port: number, path: string, protocol: string): Promise<SpdyTestClient> {
  const headers = { upgrade: 'SPDY/3.1', 'x-stream-protocol-version': protocol };
  const { socket, head, text } = await upgrade(port, path, headers);
  if (socket === undefined) throw new Error(text);
  ends.push(() => void socket.destroy());
  return new SpdyTestClient(socket, head);
}

/** What came on each channel until the close. */
async function webSocket(port: number, path: string, say: readonly Buffer[] = []) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, ['v5.channel.k8s.io']);
  const channels: string[] = [];
  socket.on('message', (data: Buffer) => {
    const channel = data[0] ?? 0;
    channels[channel] = (channels[channel] ?? '') + data.subarray(1).toString();
  });
  socket.on('open', () => say.forEach((message) => socket.send(message)));
  await once(socket, 'close');
  return channels;
}

/** `ws` refuses the protocol's name, for its slash: the handshake is done for it. */
async function tunnel(port: number, path: string): Promise<WebSocket> {
  const protocol = 'SPDY/3.1+portforward.k8s.io';
  const answer = await upgrade(port, path, {
    upgrade: 'websocket',
    'sec-websocket-key': Buffer.alloc(16).toString('base64'),
    'sec-websocket-version': '13',
    'sec-websocket-protocol': protocol,
  });
  expect(answer.headers['sec-websocket-protocol']).toBe(protocol);
  const socket = Object.assign(
    new (WebSocket as never as new (a: null, b?: unknown, c?: object) => WebSocket)(
      null,
      undefined,
      {},
    ),
    { _isServer: false },
  );
  const setSocket = (socket as unknown as { setSocket(s: unknown, h: unknown, o: object): void })
    .setSocket;
  setSocket.call(socket, answer.socket, answer.head, { maxPayload: 0 });
  return socket;
}

const execPath = '/exec/default/web/main?command=cat&input=1&output=1&error=1';
const streamTypes = ['error', 'stdin', 'stdout', 'stderr'];

describe('exec', () => {
  it('over SPDY: input, output, and the exit code at the end', async () => {
    const { port, runtime } = await start();
    runtime.onProcess = async (io) => {
      await echo(io);
      io.write('stderr', `ran ${io.command.join(' ')}`);
      return 7;
    };
    const client = await spdy(port, execPath, 'v4.channel.k8s.io');
    const [error = 0, stdin = 0, stdout = 0, stderr = 0] = streamTypes.map((streamtype) =>
      client.open({ streamtype }),
    );
    client.send(stdin, 'hello', true);
    await client.until(() => [error, stdout, stderr].every((id) => client.of(id).isEnded));
    expect(client.of(stdout).text).toBe('hello');
    expect(client.of(stderr).text).toBe('ran cat');
    expect(JSON.parse(client.of(error).text)).toMatchObject({
      status: 'Failure',
      reason: 'NonZeroExitCode',
      details: { causes: [{ message: '7' }] },
    });
  });

  it('over a WebSocket', async () => {
    const { port } = await start();
    const said = await webSocket(port, execPath, [Buffer.from('\0hello'), Buffer.from([255, 0])]);
    expect(said[1]).toBe('hello');
    expect(JSON.parse(said[3] ?? '')).toEqual({ metadata: {}, status: 'Success' });
  });

  it('asks for the compilers once it has a megabyte to unmask, and not before', async () => {
    const { port, asked } = await start();
    const half = Buffer.alloc(512 * 1024 + 1);
    const end = Buffer.from([255, 0]);
    await webSocket(port, execPath, [half, end]);
    expect(asked.compilers).toBe(0);
    await webSocket(port, execPath, [half, half, half, end]);
    expect(asked.compilers).toBe(1);
  });

  it('with a terminal: sizes reach the process, there is no stderr', async () => {
    const { port, runtime } = await start();
    const path = '/exec/default/web/main?command=sh&input=1&output=1&error=1&tty=1';
    const client = await spdy(port, path, 'v4.channel.k8s.io');
    const [error = 0, stdin = 0, stdout = 0, resize = 0] = [
      'error',
      'stdin',
      'stdout',
      'resize',
    ].map((streamtype) => client.open({ streamtype }));
    client.send(resize, '{"Width":100,"Height":40}\n');
    client.send(stdin, 'x', true);
    await client.until(() => client.of(error).isEnded && client.of(stdout).isEnded);
    expect(runtime.calls).toContain('resize 100x40');
  });

  it('ends the process when the client goes away', async () => {
    const { port, runtime, streams } = await start();
    const begun = Promise.withResolvers<void>();
    runtime.onProcess = async ({ stdin }) => {
      begun.resolve();
      for await (const bytes of stdin) void bytes;
      return 0;
    };
    const client = await spdy(port, execPath, 'v4.channel.k8s.io');
    for (const streamtype of streamTypes) client.open({ streamtype });
    await begun.promise;
    client.transport.destroy();
    await streams.stop();
    expect(runtime.calls).toContain('close process');
  });

  const failures = [
    { path: '/exec/default/web/other?command=ls&output=1', want: 'container not found ("other")' },
    { path: '/exec/default/nope/main?command=ls&output=1', want: 'pod does not exist' },
  ];
  it.each(failures)('$want, over SPDY as an HTTP error', async ({ path, want }) => {
    const { port } = await start();
    const { status, text } = await upgrade(port, path, { upgrade: 'SPDY/3.1' });
    expect([status >= 400, text]).toEqual([true, want]);
  });
  it.each(failures)('$want, over a WebSocket on its error channel', async ({ path, want }) => {
    const { port } = await start();
    const said = await webSocket(port, path);
    expect(JSON.parse(said[3] ?? '')).toMatchObject({
      status: 'Failure',
      reason: 'InternalError',
      message: `Internal error occurred: unable to upgrade connection: ${want}`,
    });
  });

  it('of a container that has just ended says so', async () => {
    const { port, runtime } = await start();
    runtime.startProcess = () => Promise.reject(new Error('container stopped'));
    const said = await webSocket(port, execPath);
    expect(JSON.parse(said[3] ?? '')).toMatchObject({
      message: 'Internal error occurred: error executing command in container: container stopped',
    });
  });

  const refused = [
    { name: 'no command', path: '/exec/default/web/main?output=1', status: 400 },
    { name: 'no stream', path: '/exec/default/web/main?command=ls', status: 400 },
    { name: 'no such path', path: '/run/default/web/main', status: 404 },
    { name: 'half a path', path: '/exec/default/web', status: 404 },
  ];
  it.each(refused)('$name: $status', async ({ path, status }) => {
    const { port } = await start();
    expect((await upgrade(port, path, { upgrade: 'SPDY/3.1' })).status).toBe(status);
  });

  it('in a protocol that is not known is refused by name', async () => {
    const { port } = await start();
    const headers = { upgrade: 'SPDY/3.1', 'x-stream-protocol-version': 'v9.channel.k8s.io' };
    const { status, text } = await upgrade(port, execPath, headers);
    expect(status).toBe(403);
    expect(text).toContain('client supports [v9.channel.k8s.io], server accepts [v5.channel');
    expect((await upgrade(port, execPath, { upgrade: 'h2c' })).status).toBe(400);
  });
});

describe('port forwarding', () => {
  function pair(client: SpdyTestClient, port: number, requestid: string) {
    const headers = { port: String(port), requestid };
    const error = client.open({ streamtype: 'error', ...headers }, true);
    return { error, data: client.open({ streamtype: 'data', ...headers }) };
  }

  it('carries many connections; one that fails leaves the others alone', async () => {
    const { port, network } = await start();
    const target = await startPodServer();
    const client = await spdy(port, '/portForward/default/web', 'portforward.k8s.io');
    const pairs = Array.from({ length: 20 }, (_, index) => pair(client, target, String(index)));
    const dead = pair(client, 1, 'dead');
    for (const [index, { data }] of pairs.entries()) client.send(data, `hello ${index}`, true);
    await client.until(() =>
      pairs.every(({ data, error }) => [data, error].every((id) => client.of(id).isEnded)),
    );
    await client.until(() => client.of(dead.error).isEnded);
    expect(pairs.map(({ data }) => client.of(data).text)).toEqual(
      pairs.map((_, index) => `HELLO ${index}`),
    );
    expect(pairs.map(({ error }) => client.of(error).text).join('')).toBe('');
    expect(client.of(dead.error).text).toBe(
      'error forwarding port 1 to pod web_default, uid u1: ' +
        'dial tcp4 127.0.0.1:1: connect: connection refused',
    );
    expect(network.open).toBe(1);
    client.transport.destroy();
    while (network.open > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  it('the same inside a WebSocket', async () => {
    const { port } = await start();
    const target = await startPodServer();
    const socket = await tunnel(port, '/portForward/default/web');
    const client = new SpdyTestClient(createWebSocketStream(socket));
    const { data } = pair(client, target, '0');
    client.send(data, 'tunnel', true);
    await client.until(() => client.of(data).isEnded);
    expect(client.of(data).text).toBe('TUNNEL');
    socket.terminate();
  });

  it('over plain channels, which begin with their port', async () => {
    const { port } = await start();
    const target = await startPodServer();
    const socket = new WebSocket(
      `ws://127.0.0.1:${port}/portForward/default/web?ports=${target}&ports=1`,
      ['v4.channel.k8s.io'],
    );
    const said: Buffer[] = [];
    const isComplete = Promise.withResolvers<void>();
    socket.on('message', (message: Buffer) => {
      const channel = message[0] ?? 0;
      said[channel] = Buffer.concat([said[channel] ?? Buffer.alloc(0), message.subarray(1)]);
      if (said[0]?.length === 7 && (said[3]?.length ?? 0) > 2) isComplete.resolve();
    });
    await once(socket, 'open');
    socket.send(Buffer.from('\0hello'));
    await isComplete.promise;
    expect(said[0]?.readUInt16LE(0)).toBe(target);
    expect(said[0]?.subarray(2).toString()).toBe('HELLO');
    expect(said[3]?.subarray(2).toString()).toContain('connection refused');
    socket.terminate();
  });

  const refused: readonly { name: string; headers: Record<string, string> }[] = [
    { name: 'no port', headers: {} },
    { name: 'a bad port', headers: { port: '70000' } },
    { name: 'another type', headers: { streamtype: 'stdin', port: '80' } },
  ];
  it.each(refused)('a stream with $name is reset', async ({ headers }) => {
    const { port } = await start();
    const client = await spdy(port, '/portForward/default/web', 'portforward.k8s.io');
    const id = client.open({ streamtype: 'data', requestid: '1', ...headers });
    await client.until(() => client.of(id).resetStatus !== undefined);
  });
});

describe('bytes into a pod', () => {
  it('go both ways after the upgrade', async () => {
    const { port } = await start();
    const target = await startPodServer();
    const path = `/dial/default/web?port=${target}`;
    const { socket } = await upgrade(port, path, { upgrade: 'tcp' });
    socket?.end('abc');
    const [bytes] = (await once(socket ?? new PassThrough(), 'data')) as [Buffer];
    expect(bytes.toString()).toBe('ABC');
  });

  it('to a dead port are refused with the reason', async () => {
    const { port } = await start();
    const { status, text } = await upgrade(port, '/dial/default/web?port=1', { upgrade: 'tcp' });
    expect([status, text]).toEqual([500, 'dial tcp4 127.0.0.1:1: connect: connection refused']);
  });
});

describe('a joined connection', () => {
  it('that breaks takes the other one along', async () => {
    const [a, b] = [new PassThrough(), new PassThrough()];
    const over = joined(a, b);
    a.destroy(new Error('gone'));
    await over;
    expect(b.destroyed).toBe(true);
  });
});

describe('a path', () => {
  it('is decoded, and asks for what it says', () => {
    const url = new URL('https://node/exec/a/b/c%2Bd?command=x%20y&command=z&input=true&tty=1');
    expect(parseStreamRequest(url)).toEqual({
      kind: 'exec',
      namespace: 'a',
      pod: 'b',
      container: 'c+d',
      command: ['x y', 'z'],
      wanted: { stdin: true, stdout: false, stderr: false, tty: true },
    });
  });
});
