import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { EventHandlers } from '#kube/client/informer.ts';
import type { LocalServer } from '../dns/local-slices.ts';
import { PodGateway } from './pod-gateway.ts';

let api: Server;
let slices: EndpointSlice[];
let handlers: EventHandlers<EndpointSlice>;
let published: (LocalServer | undefined)[];
let server: string | undefined;
let hasClusterIps: boolean;
let podCidr: string | undefined;
let gateway: PodGateway;
let stop: AbortController;
let mayCall: boolean;

beforeEach(async () => {
  api = createServer((socket) => {
    socket.setEncoding('utf8').on('data', (text: string) => socket.end(`api heard ${text}`));
  });
  api.listen(0, '127.0.0.1');
  await once(api, 'listening');
  server = `https://127.0.0.1:${(api.address() as AddressInfo).port}`;
  slices = [];
  published = [];
  hasClusterIps = true;
  mayCall = true;
  // Its gateway is 127.0.0.1.
  podCidr = '127.0.0.0/24';
  stop = new AbortController();
  gateway = new PodGateway({
    slices: {
      lister: { list: () => slices },
      addHandler(given) {
        handlers = given;
        return () => undefined;
      },
      whenSynced: () => Promise.resolve(),
    },
    publish: (local) => published.push(local),
    podCidr: async () => {
      if (podCidr === undefined) throw new Error('no engine');
      return podCidr;
    },
    hasClusterIps: () => hasClusterIps,
    server: () => server,
    mayCall: () => mayCall,
    logger: silentLogger,
    signal: stop.signal,
    port: 0,
  });
  gateway.start();
  await Promise.resolve();
  await gateway.look();
});
afterEach(() => {
  stop.abort();
  api.close();
});

function place(): { readonly address: string; readonly port: number } | undefined {
  const local = published.at(-1);
  return local && { address: local.address, port: local.ports[0]?.port ?? 0 };
}

/** What a pod hears; 'refused' when it is sent away. */
async function call(): Promise<string> {
  const { address: host, port } = place() ?? { address: '', port: 0 };
  const socket = connect({ host, port });
  let heard = '';
  socket.setEncoding('utf8').on('data', (text: string) => (heard += text));
  socket.on('error', () => (heard = 'refused'));
  socket.write('hello');
  await new Promise((resolve) => socket.once('close', resolve));
  return heard;
}

it('leads pods to the server that the agent speaks with, under the name of the Service', async () => {
  expect(published).toMatchObject([
    { namespace: 'default', name: 'kubernetes', ports: [{ name: 'https', protocol: 'TCP' }] },
  ]);
  expect(await call()).toBe('api heard hello');
});

it('sends away who is no pod of this machine, and all while no server answers', async () => {
  mayCall = false;
  expect(await call()).toBe('refused');
  mayCall = true;
  server = undefined;
  expect(await call()).toBe('refused');
  server = 'https://127.0.0.1:1';
  expect(await call()).toBe('refused');
});

it('is closed where the Service has endpoints, and open again where it has none', async () => {
  slices = [
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        name: 'kubernetes',
        namespace: 'default',
        labels: { 'kubernetes.io/service-name': 'kubernetes' },
      },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['192.168.1.7'], conditions: { ready: true } }],
      ports: [{ name: 'https', port: 7443, protocol: 'TCP' }],
    },
  ];
  handlers.onUpdate?.(slices[0] as EndpointSlice, slices[0] as EndpointSlice);
  await gateway.look();
  expect(published).toHaveLength(2);
  expect(place()).toBeUndefined();
  slices = [];
  await gateway.look();
  expect(await call()).toBe('api heard hello');
});

it('waits for the network of pods, and for ClusterIPs that lead anywhere', async () => {
  hasClusterIps = false;
  await gateway.look();
  expect(place()).toBeUndefined();
  hasClusterIps = true;
  podCidr = undefined;
  await gateway.look();
  expect(place()).toBeUndefined();
  podCidr = '127.0.1.0/24';
  await gateway.look();
  expect(place()?.address).toBe('127.0.1.1');
  podCidr = '127.0.2.0/24';
  await gateway.look();
  expect(place()?.address).toBe('127.0.2.1');
});
