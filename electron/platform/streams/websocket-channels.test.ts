import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { Readable, type PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { ManualClock } from '#kube/base/clock.ts';
import { exitStatus, TerminalSizes, type TerminalSize } from './remote-streams.ts';
import { pauseWatchMs } from './pause-watch.ts';
import { WebSocketChannels } from './websocket-channels.ts';
import { webSocketRemoteStreams } from './websocket-remote-streams.ts';

const servers: WebSocketServer[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    for (const socket of server.clients) socket.terminate();
    server.close();
  }
});

/** Both ends of a connection that has agreed on `protocol`. */
async function connect(protocol: string): Promise<{ client: WebSocket; server: WebSocket }> {
  const listener = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  servers.push(listener);
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  const client = new WebSocket(`ws://127.0.0.1:${port}`, protocol === '' ? [] : [protocol]);
  const [[server]] = (await Promise.all([once(listener, 'connection'), once(client, 'open')])) as [
    [WebSocket],
    unknown,
  ];
  return { client, server };
}

/** All messages until the socket closes, as `channel:text`. */
async function messages(client: WebSocket): Promise<string[]> {
  const seen: string[] = [];
  client.on('message', (data: Buffer, isBinary) =>
    seen.push(isBinary ? `${data[0]}:${data.subarray(1).toString()}` : `text ${data.toString()}`),
  );
  await once(client, 'close');
  return seen;
}

const clock = new ManualClock();
const all = { stdin: true, stdout: true, stderr: true, tty: false };

describe('exec over a WebSocket', () => {
  it('v5: each stream has its channel, the close signal ends the input', async () => {
    const { client, server } = await connect('v5.channel.k8s.io');
    const seen = messages(client);
    const streams = webSocketRemoteStreams(
      { socket: server, protocol: server.protocol },
      all,
      clock,
    );
    client.send(Buffer.from('\0hello '));
    client.send(Buffer.from('\0you'));
    client.send(Buffer.from([255, 0]));
    client.send(Buffer.from('\0too late'));
    expect(await text(streams.stdin ?? Readable.from([]))).toBe('hello you');
    streams.stdout?.write('out');
    streams.stderr?.write('err');
    await streams.finish(exitStatus(3, ['sh']));
    const [ready, out, err, status = ''] = await seen;
    expect([ready, out, err]).toEqual(['1:', '1:out', '2:err']);
    expect(JSON.parse(status.slice(2))).toMatchObject({
      status: 'Failure',
      reason: 'NonZeroExitCode',
      details: { causes: [{ reason: 'ExitCode', message: '3' }] },
    });
    expect(streams.signal.aborted).toBe(true);
  });

  const others = [
    {
      protocol: 'v4.channel.k8s.io',
      want: ['1:', '1:out', '3:{"metadata":{},"status":"Success"}'],
    },
    { protocol: 'channel.k8s.io', want: ['1:', '1:out'] },
    { protocol: '', want: ['1:', '1:out'] },
    {
      protocol: 'v4.base64.channel.k8s.io',
      want: [
        'text 1',
        `text 1${btoa('out')}`,
        `text 3${btoa('{"metadata":{},"status":"Success"}')}`,
      ],
    },
    { protocol: 'base64.channel.k8s.io', want: ['text 1', `text 1${btoa('out')}`] },
  ];
  it.each(others)('"$protocol" has its own form', async ({ protocol, want }) => {
    const { client, server } = await connect(protocol);
    const seen = messages(client);
    const streams = webSocketRemoteStreams(
      { socket: server, protocol: server.protocol },
      all,
      clock,
    );
    streams.stdout?.write('out');
    await streams.finish(exitStatus(0, []));
    expect(await seen).toEqual(want);
  });

  it('base64: what the client sends is decoded', async () => {
    const { client, server } = await connect('v4.base64.channel.k8s.io');
    const streams = webSocketRemoteStreams(
      { socket: server, protocol: server.protocol },
      all,
      clock,
    );
    client.send(`0${btoa('hello')}`);
    client.close();
    expect(await text(streams.stdin ?? Readable.from([]))).toBe('hello');
  });

  it('before v4 a failure is told as text', async () => {
    const { client, server } = await connect('channel.k8s.io');
    const seen = messages(client);
    await webSocketRemoteStreams({ socket: server, protocol: server.protocol }, all, clock).finish({
      status: 'Failure',
      message: 'no',
    });
    expect(await seen).toEqual(['1:', '3:no']);
  });

  it('sizes come on their own channel, channels that are none are passed over', async () => {
    const { client, server } = await connect('v5.channel.k8s.io');
    const streams = webSocketRemoteStreams(
      { socket: server, protocol: server.protocol },
      { ...all, tty: true },
      clock,
    );
    for (const message of ['', '\x09x', '\x02x', '\x04{"Width":80,"Height":24}'])
      client.send(Buffer.from(message));
    const size = await new Promise<TerminalSize>((resolve) => streams.sizes.listen(resolve));
    expect(size).toEqual({ width: 80, height: 24 });
    expect(streams.stderr).toBeUndefined();
    client.terminate();
    await new Promise((resolve) => streams.signal.addEventListener('abort', resolve));
  });
});

describe('a channel that nobody reads', () => {
  it('stops the socket, and a client that is gone is asked for', async () => {
    const manual = new ManualClock();
    const { client, server } = await connect('');
    const channels = new WebSocketChannels(
      server,
      { isBase64: false, hasCloseSignal: false },
      manual,
    );
    const source = channels.source(0);
    const chunk = Buffer.alloc(100_000);
    for (let sent = 0; sent < 30; sent++) client.send(chunk);
    client.send(Buffer.of(9));
    await once(source, 'readable');
    while (!server.isPaused) await new Promise((resolve) => setImmediate(resolve));
    expect(source.readableLength + (source as PassThrough).writableLength).toBeLessThan(1_000_000);
    const pinged = once(client, 'ping');
    manual.advance(pauseWatchMs);
    await pinged;
    let sizeBytes = 0;
    for await (const bytes of source) {
      sizeBytes += (bytes as Buffer).length;
      if (sizeBytes === 30 * 99_999) break;
    }
    expect(server.isPaused).toBe(false);
  });
});

describe('terminal sizes', () => {
  const cases = [
    { name: 'one', given: ['{"Width":80,"Height":24}'], want: [{ width: 80, height: 24 }] },
    { name: 'cut', given: ['{"Width":1', ',"Height":2}'], want: [{ width: 1, height: 2 }] },
    {
      name: 'several: the newest counts',
      given: ['{"Width":1,"Height":2}{"Width":3,"Height":4}'],
      want: [{ width: 3, height: 4 }],
    },
    {
      name: 'bad ones are passed over',
      given: ['{}{"Width":-1,"Height":2}}{"Width":1e9,"Height":1}', '{"Width":5,"Height":6}'],
      want: [{ width: 5, height: 6 }],
    },
    { name: 'endless text is not kept', given: ['{'.repeat(5000)], want: [] },
  ];
  it.each(cases)('$name', ({ given, want }) => {
    const sizes = new TerminalSizes();
    const seen: TerminalSize[] = [];
    sizes.listen((size) => seen.push(size));
    for (const part of given) sizes.push(Buffer.from(part));
    expect(seen).toEqual(want);
  });

  it('that came before are told to who listens later', () => {
    const sizes = new TerminalSizes();
    sizes.push(Buffer.from('{"Width":80,"Height":24}'));
    const seen: TerminalSize[] = [];
    sizes.listen((size) => seen.push(size));
    expect(seen).toEqual([{ width: 80, height: 24 }]);
  });
});
