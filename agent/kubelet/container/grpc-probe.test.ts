import { createServer as createHttp1Server } from 'node:http';
import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { grpcProbe } from './grpc-probe.ts';
import { ProbeRunner } from './probe.ts';

const running: (Server | Http2Server)[] = [];
const closeAll: (() => void)[] = [];

afterEach(async () => {
  for (const close of closeAll.splice(0)) close();
  for (const server of running.splice(0))
    await new Promise<void>((resolve) => void server.close(() => resolve()));
});

async function listen(server: Server | Http2Server): Promise<number> {
  running.push(server);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

interface Asked {
  readonly path: string;
  readonly contentType: string;
  readonly body: string;
}

/** A gRPC server; `answer` gets the call once its message is complete. */
async function grpcServer(
  answer: (stream: ServerHttp2Stream, asked: Asked) => void,
): Promise<number> {
  const server = createServer();
  server.on('session', (session) => closeAll.push(() => session.destroy()));
  server.on('stream', (stream, headers) => {
    const parts: Buffer[] = [];
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => parts.push(chunk));
    stream.on('end', () => {
      const path = headers[':path'] ?? '';
      const contentType = headers['content-type'] ?? '';
      answer(stream, { path, contentType, body: Buffer.concat(parts).toString('hex') });
    });
  });
  return listen(server);
}

const ok = { ':status': 200, 'content-type': 'application/grpc' };

function respond(stream: ServerHttp2Stream, hex: string, trailers: object): void {
  stream.respond(ok, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ ...trailers }));
  stream.end(Buffer.from(hex, 'hex'));
}

const never = new AbortController().signal;

async function probe(port: number, service = '', signal = never) {
  return grpcProbe({ host: '127.0.0.1', port, service, timeoutMs: 2_000, signal });
}

describe('a gRPC probe', () => {
  it('asks the health service of the server, or that of one service', async () => {
    const asked: Asked[] = [];
    const port = await grpcServer((stream, call) => {
      asked.push(call);
      respond(stream, '00000000020801', { 'grpc-status': '0' });
    });
    expect(await probe(port)).toEqual({ isSuccess: true, output: 'service healthy' });
    await probe(port, 'db');
    await probe(port, 'x'.repeat(200));
    const path = '/grpc.health.v1.Health/Check';
    const contentType = 'application/grpc';
    expect(asked).toEqual([
      { path, contentType, body: '0000000000' },
      { path, contentType, body: '00000000040a026462' },
      { path, contentType, body: `00000000cb0ac801${'78'.repeat(200)}` },
    ]);
  });

  const unhealthy = (name: string) => `service unhealthy (responded with "${name}")`;
  const rpcError = (text: string) => `error: health rpc probe failed: rpc error: ${text}`;
  const answers = [
    { name: 'serving', hex: '00000000020801', want: 'service healthy' },
    { name: 'not serving', hex: '00000000020802', want: unhealthy('NOT_SERVING') },
    { name: 'no status, which is UNKNOWN', hex: '0000000000', want: unhealthy('UNKNOWN') },
    { name: 'a status of the future', hex: '00000000020809', want: unhealthy('9') },
    {
      name: 'serving among fields of the future',
      hex: `000000001312017819${'00'.repeat(8)}25${'00'.repeat(4)}0801`,
      want: 'service healthy',
    },
    {
      name: 'serving before a number of the future',
      hex: '000000000408011005',
      want: 'service healthy',
    },
    {
      name: 'no message',
      hex: '',
      want: rpcError('code = Internal desc = the answer has no message'),
    },
    {
      name: 'half a message',
      hex: '000000000208',
      want: rpcError('code = Internal desc = the answer is cut off'),
    },
    {
      name: 'a varint without an end',
      hex: '00000000020880',
      want: rpcError('code = Internal desc = the answer is no protobuf message'),
    },
    {
      name: 'a compressed message',
      hex: '01000000020801',
      want: rpcError('code = Internal desc = the answer is compressed, which was not asked for'),
    },
  ];
  it.each(answers)('judges the answer: $name', async ({ hex, want }) => {
    const port = await grpcServer((stream) => respond(stream, hex, { 'grpc-status': '0' }));
    const isSuccess = want === 'service healthy';
    expect(await probe(port)).toEqual({ isSuccess, output: want });
  });

  const failures = [
    {
      name: 'an unknown service, told in the trailers',
      answer: (stream: ServerHttp2Stream) =>
        respond(stream, '', { 'grpc-status': '5', 'grpc-message': 'unknown%20service' }),
      want: rpcError('code = NotFound desc = unknown service'),
    },
    {
      name: 'no health service, told in the headers',
      answer: (stream: ServerHttp2Stream) =>
        stream.respond(
          { ...ok, 'grpc-status': '12', 'grpc-message': 'unknown service grpc.health.v1.Health' },
          { endStream: true },
        ),
      want: 'error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service grpc.health.v1.Health',
    },
    {
      name: 'a web server instead',
      answer: (stream: ServerHttp2Stream) => {
        stream.respond({ ':status': 200, 'content-type': 'text/html' });
        stream.end('<p>hello');
      },
      want: rpcError('code = Unknown desc = unexpected content-type "text/html"'),
    },
    {
      name: 'an HTTP error',
      answer: (stream: ServerHttp2Stream) =>
        stream.respond({ ':status': 503 }, { endStream: true }),
      want: rpcError(
        'code = Unavailable desc = unexpected HTTP status code received from server: 503 (Service Unavailable)',
      ),
    },
    {
      name: 'a code nobody knows',
      answer: (stream: ServerHttp2Stream) => respond(stream, '', { 'grpc-status': '77' }),
      want: rpcError('code = Code(77) desc = '),
    },
    {
      name: 'more than any health service says',
      answer: (stream: ServerHttp2Stream) =>
        respond(stream, '00'.repeat(100_000), { 'grpc-status': '0' }),
      want: rpcError('code = Unavailable desc = Error: the answer is larger than 65536 bytes'),
    },
    {
      name: 'a call that is reset',
      answer: (stream: ServerHttp2Stream) => stream.close(2),
      want: rpcError(
        'code = Unavailable desc = Error [ERR_HTTP2_STREAM_ERROR]: Stream closed with error code NGHTTP2_INTERNAL_ERROR',
      ),
    },
  ];
  it.each(failures)('says how the call failed: $name', async ({ answer, want }) => {
    const port = await grpcServer(answer);
    expect(await probe(port)).toEqual({ isSuccess: false, output: want });
  });

  it('gives a call that does not end its time and no more', async () => {
    const timeIsOver = new AbortController();
    const port = await grpcServer(() => timeIsOver.abort());
    const output = 'timeout: health rpc did not complete within 2s';
    expect(await probe(port, '', timeIsOver.signal)).toEqual({ isSuccess: false, output });
  });

  it('is not connected to a server that says nothing', async () => {
    const timeIsOver = new AbortController();
    const server = createTcpServer((socket) => {
      timeIsOver.abort();
      socket.on('error', () => {});
      closeAll.push(() => socket.destroy());
    });
    const port = await listen(server);
    const output = `timeout: failed to connect service "127.0.0.1:${port}" within 2s: context deadline exceeded`;
    expect(await probe(port, '', timeIsOver.signal)).toEqual({ isSuccess: false, output });
  });

  it('fails where nobody listens, or somebody speaks HTTP/1', async () => {
    const port = await listen(createHttp1Server() as Server);
    const spoken = await probe(port);
    expect(spoken.isSuccess).toBe(false);
    expect(spoken.output).toContain(`error: failed to connect service at "127.0.0.1:${port}": `);
    const [server] = running.splice(0);
    await new Promise<void>((resolve) => void server?.close(() => resolve()));
    const output = `error: failed to connect service at "127.0.0.1:${port}": connect: connection refused`;
    expect(await probe(port)).toEqual({ isSuccess: false, output });
  });

  it('is what a probe with a grpc action does, at the pod', async () => {
    const port = await grpcServer((stream) =>
      respond(stream, '00000000020801', { 'grpc-status': '0' }),
    );
    const runner = new ProbeRunner({ exec: () => Promise.reject(new Error('not asked')) });
    const target = { container: { name: 'web' }, containerId: 'c', podIp: '127.0.0.1' };
    const outcome = await runner.run({ grpc: { port } }, target, 5_000);
    expect(outcome).toEqual({ isSuccess: true, output: 'service healthy' });
  });
});
