// The driver on loopback, with an API server that takes questions and says nothing, or what a test has it say.
import { createServer, get } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KubeObject } from '#kube/api/object.ts';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import { InformerFactory } from '#kube/client/informer.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import type { Transport, TransportRequest } from '#kube/client/transport.ts';
import { ingressController } from '#kube/machinery/ingress.ts';
import {
  startIngress,
  type IngressPorts,
  type IngressStatus,
  type RunningIngress,
} from './ingress.ts';

type Objects = Readonly<Record<string, readonly KubeObject[]>>;

const cleanUps: (() => unknown)[] = [];
let folder: string;
let file: Uint8Array | undefined;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-ingress-'));
  file = undefined;
});
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
  rmSync(folder, { recursive: true, force: true });
});

/** Watches what `given` has by plural; nothing ever answers when it is undefined. */
function transport(given: Objects | undefined): Transport {
  const silence = (signal: AbortSignal | undefined): Promise<never> =>
    new Promise((_resolve, reject) => {
      signal?.addEventListener('abort', () => reject(new Error('given up')));
    });
  async function* said(all: readonly KubeObject[], { signal }: TransportRequest) {
    const event = (type: string, object: object) =>
      Buffer.from(`${JSON.stringify({ type, object })}\n`);
    for (const object of all) yield event('ADDED', object);
    const annotations = { 'k8s.io/initial-events-end': 'true' };
    yield event('BOOKMARK', { metadata: { resourceVersion: '1', annotations } });
    await silence(signal).catch(() => {});
  }
  return {
    request: ({ signal }) => silence(signal),
    stream: async (request) => {
      if (given === undefined) return silence(request.signal);
      const all = given[request.path.split('/').at(-1) ?? ''] ?? [];
      return { status: 200, headers: {}, chunks: said(all, request) };
    },
  };
}

interface Running {
  readonly ingress: RunningIngress;
  readonly opened: Promise<number>;
  readonly problem: Promise<string>;
  stop(): void;
}

function start(given: Objects | undefined, ports: IngressPorts = { http: 0, https: 0 }): Running {
  const stopping = new AbortController();
  const { signal } = stopping;
  cleanUps.push(() => stopping.abort());
  const client = new RestClient({ transport: transport(given), userAgent: 'test' });
  const deps = { client, clock: systemClock, random: systemRandom, logger: silentLogger };
  const informers = new InformerFactory(deps);
  const { promise: opened, resolve } = Promise.withResolvers<number>();
  const { promise: problem, resolve: say } = Promise.withResolvers<string>();
  const ingress = startIngress({
    informers,
    events: { event() {} },
    ports,
    listenAddress: '127.0.0.1',
    nodeName: 'pi',
    file: {
      read: () => Promise.resolve(file),
      write: async (bytes) => {
        file = bytes;
      },
    },
    nodesFile: { read: () => Promise.resolve(undefined), write: () => Promise.resolve() },
    certificateFolder: path.join(folder, 'app-certificates'),
    lanInterfaces: [],
    onStatus: (status: IngressStatus) => {
      const { http } = status.ports;
      if (http !== undefined) resolve(http);
      if (status.problem !== undefined) say(status.problem);
    },
    signal,
  });
  informers.start(signal);
  return { ingress, opened, problem, stop: () => stopping.abort() };
}

async function pod(says: string): Promise<number> {
  const server = createServer((_request, response) => response.end(says));
  await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
  cleanUps.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

function ask(port: number, host: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, headers: { host }, agent: false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      answer.on('end', () => resolve(`${answer.statusCode} ${text.trim()}`));
    }).on('error', reject);
  });
}

function objects(port: number, annotations: Record<string, string> = {}, tls: object[] = []) {
  const metadata = { namespace: 'default', resourceVersion: '1' };
  const backend = { service: { name: 'films', port: { number: 80 } } };
  const http = { paths: [{ path: '/', pathType: 'Prefix', backend }] };
  return {
    ingressclasses: [
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'IngressClass',
        metadata: { name: 'flotilla', uid: 'class', resourceVersion: '1' },
        spec: { controller: ingressController },
      },
    ],
    ingresses: [
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'Ingress',
        metadata: { ...metadata, name: 'films', uid: 'films', annotations },
        spec: { ingressClassName: 'flotilla', tls, rules: [{ host: 'films.example', http }] },
      },
    ],
    services: [
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { ...metadata, name: 'films', uid: 'service' },
        spec: { ports: [{ port: 80 }] },
      },
    ],
    endpointslices: [
      {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: {
          ...metadata,
          name: 'films-x',
          uid: 'slice',
          labels: { 'kubernetes.io/service-name': 'films' },
        },
        addressType: 'IPv4',
        ports: [{ port }],
        endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true } }],
      },
    ],
  };
}

/** By an agent that heard of them, and has ended. */
async function served(given: Objects): Promise<void> {
  const before = start(given);
  await before.opened;
  await before.ingress.save();
  before.stop();
  expect(file).toBeDefined();
}

describe('routes', () => {
  it('are served by an agent that starts while the API server says nothing, as the one before knew them', async () => {
    await served(objects(await pod('a film')));
    const port = await start(undefined).opened;
    expect(await ask(port, 'films.example')).toBe('200 a film');
    expect(await ask(port, 'other.example')).toMatch(/^404 /);
  });

  it('are those of the API server as soon as it tells', async () => {
    await served(objects(await pod('a film')));
    const other = await pod('another film');
    const port = await start(objects(other)).opened;
    await expect.poll(() => ask(port, 'films.example')).toBe('200 another film');
  });

  it('are not served in the clear where a Secret’s certificate is only not known yet', async () => {
    const annotations = { 'ingress.flotilla.dev/ssl-redirect': 'true' };
    const tls = [{ hosts: ['films.example'], secretName: 'own' }];
    await served(objects(await pod('a film'), annotations, tls));
    const port = await start(undefined).opened;
    expect(await ask(port, 'films.example')).toMatch(
      /^503 films\.example is for HTTPS only, and its certificate is not known here/,
    );
  });

  it('are none of a file that makes no sense', async () => {
    for (const text of ['{', '{"version":1,"ingresses":7}', '{"version":1}']) {
      file = Buffer.from(text);
      const port = await start(objects(await pod('a film'))).opened;
      await expect.poll(() => ask(port, 'films.example')).toBe('200 a film');
    }
  });
});

describe('a port that another program has', () => {
  it('is told with what works all the same, and both when both are taken', async () => {
    const [http, https] = [await pod(''), await pod('')];
    const tls = [{ hosts: ['films.example'], secretName: 'films' }];
    const given = objects(await pod('films'), {}, tls);
    const taken = (port: number) => new RegExp(`: port ${port} is taken by .*[.]`);
    const text = await start(given, { http, https: 0 }).problem;
    expect(text).toMatch(taken(http));
    expect(text).toContain('by their names here over plain HTTP, only by https://:');
    const both = await start(given, { http, https }).problem;
    expect(both).toMatch(taken(http));
    expect(both).toMatch(taken(https));
    expect(both).toContain('by their names here over HTTPS:');
    expect(both).toContain('by their names here: ');
  });
});
