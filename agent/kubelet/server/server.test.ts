// The agent's port, over real TLS, as somebody without a certificate finds it.
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import type { KeyPairPem } from '#platform/certificate.ts';
import { ClusterPki } from '#platform/pki.ts';
import { HttpsKubeletClient } from '../../../electron/controlplane/apiserver/kubelet-client.ts';
import { Access, type Refusal } from './access.ts';
import { Routes, type RoutesDeps } from './routes.ts';
import { KubeletServer, type KubeletServerDeps } from './server.ts';
import type { Streams } from './streams.ts';

let directory: string;
let caPem: string;
let serving: KeyPairPem;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'flotilla-port-'));
  const pki = await ClusterPki.open({
    directory: path.join(directory, 'pki'),
    clock: systemClock,
    random: systemRandom,
  });
  caPem = pki.caPem;
  serving = await pki.nodeServing(path.join(directory, 'serving'), 'pi');
});
afterAll(() => rm(directory, { recursive: true }));

const servers: KubeletServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
});

async function start(
  refusal: KubeletServerDeps['access']['refusal'],
  routes: Pick<Routes, 'handle'> = {} as Routes,
): Promise<number> {
  const server = new KubeletServer({
    ...serving,
    caPem,
    bindAddress: '127.0.0.1',
    port: 0,
    access: { refusal },
    metrics: { request: () => {} },
    clock: systemClock,
    routes: routes as Routes,
    streams: async () =>
      ({
        stop: async () => {},
        serve: () => Promise.reject(new Error('the stream broke')),
      }) as unknown as Streams,
    logger: silentLogger,
  });
  servers.push(server);
  return server.start();
}

/** All that comes until the other side hangs up. */
async function upgrade(port: number, target: string): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const headers = 'Host: pi\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n';
  socket.write(`GET ${target} HTTP/1.1\r\n${headers}\r\n`);
  return text(socket);
}

const nobody = async (): Promise<Refusal> => ({ status: 401, why: 'Unauthorized' });

describe('who asks for a stream', () => {
  it('of a path that is none is refused, and the agent lives', async () => {
    const port = await start(nobody);
    expect(await upgrade(port, '//')).toMatch(/^HTTP\/1\.1 400 /);
    expect(await upgrade(port, '/exec/a/b/c')).toMatch(/^HTTP\/1\.1 401 /);
  });

  it('hears when it can not be told whether they may, or the stream breaks', async () => {
    const unsure = await start(() => Promise.reject(new Error('no verdict')));
    expect(await upgrade(unsure, '/exec/a/b/c')).toMatch(/^HTTP\/1\.1 500 .*no verdict$/s);
    const broken = await start(async () => undefined);
    expect(await upgrade(broken, '/exec/a/b/c')).toMatch(/^HTTP\/1\.1 500 .*the stream broke$/s);
  });
});

describe('the certificate', () => {
  it('is another for who comes from now on, and who is there may stay', async () => {
    const answer = { status: 200, contentType: 'text/plain', body: 'ok' };
    const port = await start(async () => undefined, { handle: async () => answer });
    const before = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
    await once(before, 'secureConnect');
    const { fingerprint } = new X509Certificate(serving.certPem);
    expect(before.getPeerX509Certificate()?.fingerprint).toBe(fingerprint);
    const pki = await ClusterPki.open({
      directory: path.join(directory, 'pki'),
      clock: systemClock,
      random: systemRandom,
    });
    const next = await pki.nodeServing(path.join(directory, 'next'), 'pi');
    servers[0]?.setCertificate({ ...next, caPem });
    const after = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
    await once(after, 'secureConnect');
    expect(after.getPeerX509Certificate()?.fingerprint).toBe(
      new X509Certificate(next.certPem).fingerprint,
    );
    before.write('GET / HTTP/1.1\r\nHost: pi\r\nConnection: close\r\n\r\n');
    expect(await text(before)).toMatch(/^HTTP\/1\.1 200 /);
    after.destroy();
  });
});

describe('an API server that says where it is', () => {
  async function say(name: string, organizations: string[], query: string, method = 'PUT') {
    const heard: string[][] = [];
    const hearApiServers = (said: readonly string[]) => void heard.push([...said]);
    // Who would be asked who may is what this machine has lost.
    const client = { create: () => Promise.reject(new Error('away')) };
    const deps = { client, clock: systemClock, logger: silentLogger, nodeName: 'pi' };
    const access = new Access(deps);
    const routes = new Routes({ hearApiServers } as Partial<RoutesDeps> as RoutesDeps);
    const Port = await start((request) => access.refusal(request), routes);
    const pki = await ClusterPki.open({
      directory: path.join(directory, 'pki'),
      clock: systemClock,
      random: systemRandom,
    });
    const file = path.join(directory, name);
    const usages = ['client'] as const;
    const certificate = await pki.ensure({ path: file, commonName: name, organizations, usages });
    const addresses = [{ type: 'InternalIP', address: '127.0.0.1' }];
    const status = { addresses, daemonEndpoints: { kubeletEndpoint: { Port } } };
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'pi' }, spec: {}, status };
    const kubelet = new HttpsKubeletClient({
      getNode: async () => node as Node,
      certificate,
      caPem,
    });
    const { signal } = new AbortController();
    const answer = await kubelet.stream('pi', {
      method: method as 'PUT',
      path: '/flotilla/api-server',
      query: new URLSearchParams(query),
      signal,
    });
    for await (const chunk of answer.chunks) void chunk;
    kubelet.close();
    return { status: answer.status, heard };
  }

  const server = ['kube-apiserver-kubelet-client', ['system:masters']] as const;

  it('is heard, by where it comes from', async () => {
    const said = await say(server[0], [...server[1]], 'port=7443');
    expect(said).toEqual({ status: 200, heard: [['https://127.0.0.1:7443']] });
  });

  it('is not when it says nothing that can be tried, or somebody else says it', async () => {
    const none = (status: number) => ({ status, heard: [] });
    expect(await say(server[0], [...server[1]], 'port=x')).toEqual(none(400));
    expect(await say(server[0], [...server[1]], 'port=7443', 'GET')).toEqual(none(405));
    expect(await say('kubernetes-admin', ['system:masters'], 'port=7443')).toEqual(none(403));
  });
});

/** More than fits in between; resolves `ended` when it is read no more. */
function endless() {
  const ended = Promise.withResolvers<void>();
  const body = (async function* () {
    try {
      for (;;) yield Buffer.alloc(1024 * 1024);
    } finally {
      ended.resolve();
    }
  })();
  return { body, ended: ended.promise };
}

describe('an answer without end', () => {
  it('whose reader takes nothing is cut off after a while', async () => {
    const { body, ended } = endless();
    const answer = { status: 200, contentType: 'application/x-tar', body, stalledMaxMs: 50 };
    const port = await start(async () => undefined, { handle: async () => answer });
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    socket.pause().write('GET / HTTP/1.1\r\nHost: pi\r\n\r\n');
    await ended;
    socket.destroy();
  });
});
