// What Docker says after its answer has begun, by an engine of a few lines on a socket.
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DockerClient, type LoadEvent } from './docker-client.ts';

let directory: string;
let server: Server;
let client: DockerClient;
let asked: string[];
/** The lines of each answer. */
let lines: readonly object[];
/** So many deletions are refused. */
let refusals: number;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'flotilla-engine-'));
  asked = [];
  refusals = 0;
  server = createServer((request, response) => {
    asked.push(request.url ?? '');
    if (request.method === 'DELETE' && refusals-- > 0) response.statusCode = 403;
    request.resume().once('end', () => {
      for (const line of lines) response.write(`${JSON.stringify(line)}\r\n`);
      response.end();
    });
  });
  const socket = path.join(directory, 'engine.sock');
  server.listen(socket);
  await once(server, 'listening');
  client = new DockerClient(socket);
});
afterEach(async () => {
  server.close();
  server.closeAllConnections();
  await rm(directory, { recursive: true });
});

const archive = () => Readable.from([Buffer.from('x')]);

describe('an engine', () => {
  it('that fails in the middle of a load did not load', async () => {
    const loaded: LoadEvent = { stream: 'Loaded image: web:1\n' };
    const error = 'unexpected EOF';
    lines = [loaded, { errorDetail: { message: error }, error }];
    const events: LoadEvent[] = [];
    const load = client.loadImages(archive(), (event) => events.push(event));
    await expect(load).rejects.toMatchObject({ name: 'RuntimeError', message: error });
    expect(events[0]).toEqual(loaded);
  });

  it('that fails in the middle of a pull did not pull, and its first reason counts', async () => {
    lines = [{ status: 'Pulling' }, { error: 'no space left' }, { error: 'cancelled' }];
    await expect(client.pullImage('web:1', {})).rejects.toThrow(/^no space left$/);
  });

  it('that counts an end whose container is gone is told to forget it, and removes the network', async () => {
    lines = [{ Containers: { 'ep-1': { Name: 'gone' } } }];
    refusals = 1;
    await client.removeNetwork('flt');
    expect(asked.map((url) => url.replace(/^\/v[\d.]+/, ''))).toEqual([
      '/networks/flt',
      '/networks/flt',
      '/networks/flt/disconnect',
      '/networks/flt',
    ]);
  });

  it('that has a container in the network keeps it', async () => {
    lines = [{ Containers: { a1b2: { Name: 'web' } } }];
    refusals = 1;
    await expect(client.removeNetwork('flt')).rejects.toMatchObject({ name: 'RuntimeError' });
    expect(asked).toHaveLength(2);
  });

  it('that says no error has done it', async () => {
    lines = [{ status: 'Pulling' }];
    await client.pullImage('web:1', {});
    await client.loadImages(archive());
  });

  it('is asked to tell how far a load is', async () => {
    lines = [];
    await client.loadImages(archive());
    expect(new URL(asked[0]!, 'http://engine').searchParams.get('quiet')).toBe('false');
  });

  const stores: [string, readonly string[][] | null, boolean][] = [
    [
      'overlay2',
      [
        ['Backing Filesystem', 'extfs'],
        ['Supports d_type', 'true'],
      ],
      true,
    ],
    ['containerd', [['driver-type', 'io.containerd.snapshotter.v1']], false],
    ['nothing said', null, true],
  ];
  it.each(stores)('with %s as its store', async (_name, DriverStatus, digestsTellPulls) => {
    lines = [{ DriverStatus }];
    expect(await client.facts()).toMatchObject({ digestsTellPulls });
  });
});
