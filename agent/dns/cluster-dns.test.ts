// All of it together on this machine's loopback: informers that a test drives, files of its own.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { Service } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { EventHandlers } from '#kube/client/informer.ts';
import { keyOf } from '#kube/client/resources.ts';
import { ClusterDns, type DnsSource } from './cluster-dns.ts';
import { ask, service, slice, told } from '../../test/setup/dns-messages.ts';
import { freePort } from '../../test/setup/free-port.ts';
import { MachineServers, parseResolvConf, readNodeDns } from './upstream/resolv-conf.ts';

class Source<T extends KubeObject> implements DnsSource<T> {
  readonly objects = new Map<string, T>();
  readonly #handlers = new Set<EventHandlers<T>>();
  readonly #synced = Promise.withResolvers<void>();
  readonly lister = {
    list: () => [...this.objects.values()],
    get: (namespace: string, name: string) => this.objects.get(`${namespace}/${name}`),
  };

  addHandler(handlers: EventHandlers<T>): () => void {
    this.#handlers.add(handlers);
    return () => void this.#handlers.delete(handlers);
  }

  whenSynced(): Promise<void> {
    return this.#synced.promise;
  }

  put(object: T): void {
    const old = this.objects.get(keyOf(object));
    this.objects.set(keyOf(object), object);
    for (const handlers of this.#handlers)
      if (old === undefined) handlers.onAdd?.(object, false);
      else handlers.onUpdate?.(old, object);
  }

  drop(object: T): void {
    this.objects.delete(keyOf(object));
    for (const handlers of this.#handlers) handlers.onDelete?.(object);
  }

  sync(): void {
    this.#synced.resolve();
  }
}

const clock = new ManualClock();
/** What drops the questions of pods. */
let firewall: string | undefined;
let services: Source<Service>;
let slices: Source<EndpointSlice>;
let written: Uint8Array | undefined;
let writes: number;
let started: ClusterDns[];
let changes: number;
let root: string;

beforeEach(() => {
  services = new Source();
  slices = new Source();
  written = undefined;
  writes = 0;
  started = [];
  changes = 0;
  firewall = undefined;
  root = mkdtempSync(path.join(tmpdir(), 'flotilla-dns-'));
});
afterEach(async () => {
  for (const dns of started) await dns.stop();
  rmSync(root, { recursive: true, force: true });
});

interface StartOptions {
  readonly podCidr?: () => Promise<string>;
  readonly hasClusterIps?: boolean | (() => boolean);
  readonly ports?: readonly number[] | ((hasClusterIps: boolean) => readonly number[]);
}

async function start(options: StartOptions = {}): Promise<ClusterDns> {
  const { hasClusterIps = true, ports = [0, 0] } = options;
  const dns = new ClusterDns({
    services,
    endpointSlices: slices,
    podCidr: options.podCidr ?? (() => Promise.resolve('127.0.0.0/24')),
    serviceCidr: '10.96.0.0/16',
    firewall: () => Promise.resolve(firewall),
    nodeName: 'pi',
    hasClusterIps: typeof hasClusterIps === 'function' ? hasClusterIps : () => hasClusterIps,
    exchange: () => Promise.reject(new Error('nobody is to be asked')),
    file: {
      read: () => Promise.resolve(written),
      write: async (bytes) => {
        written = bytes;
        writes++;
      },
    },
    clock,
    logger: silentLogger,
    onChange: () => changes++,
    signal: new AbortController().signal,
    root,
    ports: typeof ports === 'function' ? ports : () => ports,
  });
  started.push(dns);
  await dns.start();
  await dns.listen();
  return dns;
}

interface Place {
  readonly address?: string;
  readonly port?: number;
}

async function resolve(
  dns: ClusterDns,
  name: string,
  { address = '127.0.0.1', port = dns.port }: Place = {},
): Promise<string> {
  const socket = createSocket('udp4');
  const answer = await new Promise<Buffer>((done) => {
    socket.on('message', done);
    socket.send(ask(name, 'A'), port, address);
  });
  socket.close();
  const { rcode, answers } = told(answer);
  return [rcode, ...answers.map((line) => line.split(' ')[3])].join(' ');
}

const web = service('default/web', { clusterIPs: ['10.96.0.7'], ports: [] });
const webName = 'web.default.svc.cluster.local';
const kubeDns = service('kube-system/kube-dns', { clusterIPs: ['10.96.0.10'], ports: [] });
const podName = 'db-0.db.default.svc.cluster.local';
const db = service('default/db', { clusterIP: 'None', ports: [] });
const dbSlice = slice('default/db', 'IPv4', {
  endpoints: [{ addresses: ['10.244.0.5'], hostname: 'db-0' }],
  ports: [],
});

describe('names', () => {
  it('are not denied before all of them are known, and follow what happens from then on', async () => {
    const dns = await start();
    expect(await resolve(dns, webName)).toBe('SERVFAIL');
    services.sync();
    slices.sync();
    await Promise.resolve();
    expect(await resolve(dns, webName)).toBe('NXDOMAIN');
    for (const each of [web, db]) services.put(each);
    slices.put(dbSlice);
    expect(await resolve(dns, webName)).toBe('NOERROR 10.96.0.7');
    expect(await resolve(dns, podName)).toBe('NOERROR 10.244.0.5');
    services.put(service('default/web', { clusterIPs: ['10.96.0.8'], ports: [] }));
    slices.put(slice('default/db', 'IPv4', { endpoints: [], ports: [] }));
    expect(await resolve(dns, webName)).toBe('NOERROR 10.96.0.8');
    expect(await resolve(dns, podName)).toBe('NXDOMAIN');
    services.drop(web);
    expect(await resolve(dns, webName)).toBe('NXDOMAIN');
  });

  it('outlive the agent while the control plane is away, until it says otherwise', async () => {
    const dns = await start();
    for (const each of [web, db]) services.put(each);
    slices.put(dbSlice);
    services.sync();
    slices.sync();
    await dns.stop();
    expect(written).toBeDefined();
    services = new Source();
    slices = new Source();
    const next = await start();
    expect(await resolve(next, webName)).toBe('NOERROR 10.96.0.7');
    expect(await resolve(next, podName)).toBe('NOERROR 10.244.0.5');
    services.put(db);
    services.sync();
    slices.sync();
    await new Promise((done) => setImmediate(done));
    expect(await resolve(next, webName)).toBe('NXDOMAIN');
    expect(await resolve(next, podName)).toBe('NXDOMAIN');
  });

  it('are written down soon after a change, ever less often while more come, and not again without one', async () => {
    await start();
    const change = (n: number): void =>
      services.put(service('default/web', { clusterIPs: [`10.96.0.${n}`], ports: [] }));
    change(7);
    clock.advance(2_000);
    await Promise.resolve();
    expect(String(written)).toContain('10.96.0.7');
    change(8);
    clock.advance(3_999);
    await Promise.resolve();
    expect(String(written)).toContain('10.96.0.7');
    clock.advance(1);
    await Promise.resolve();
    expect(String(written)).toContain('10.96.0.8');
    for (let n = 0; n < 600; n++) {
      change(n % 200);
      clock.advance(1_000);
      await Promise.resolve();
    }
    expect(writes).toBeLessThanOrEqual(17);
    clock.advance(60_000);
    await Promise.resolve();
    const before = writes;
    clock.advance(600_000);
    change(199);
    clock.advance(60_000);
    await Promise.resolve();
    expect(writes).toBe(before);
  });

  it('are not written down while nothing changes that has to do with names', async () => {
    const dns = await start();
    const api = service('default/api', { clusterIPs: ['10.96.0.9'], ports: [] });
    const endpoints = ['10.244.0.6', '10.244.1.7'].map((address) => ({ addresses: [address] }));
    const apiSlice = (more: object, given = endpoints) => {
      const made = slice('default/api', 'IPv4', { endpoints: given, ports: [] });
      return { ...made, metadata: { ...made.metadata, ...more } };
    };
    for (const each of [web, api, kubeDns]) services.put(each);
    slices.put(apiSlice({ resourceVersion: '1' }));
    services.sync();
    slices.sync();
    await Promise.resolve();
    clock.advance(60_000);
    await Promise.resolve();
    expect(writes).toBe(1);
    for (let at = 0; at < 60; at++) {
      // What controllers and a watch that begins anew bring every ten seconds: other versions, another order.
      const annotations = { 'endpoints.kubernetes.io/last-change-trigger-time': String(at) };
      const about = { resourceVersion: String(at), annotations };
      slices.put(apiSlice(about, at % 2 === 0 ? endpoints : endpoints.toReversed()));
      const again = at % 3 === 0 ? [api, web, kubeDns] : [kubeDns, api, web];
      for (const each of again)
        services.put({ ...each, metadata: { ...each.metadata, resourceVersion: String(at) } });
      clock.advance(10_000);
      await Promise.resolve();
    }
    await dns.stop();
    expect(writes).toBe(1);
  });

  it('start without those of a file that makes no sense', async () => {
    for (const text of ['{', '{"version":1}', '{"version":9,"services":[],"slices":[]}', 'null']) {
      written = Buffer.from(text);
      const dns = await start();
      expect(await resolve(dns, webName)).toBe('SERVFAIL');
    }
  });
});

describe('pods are told', () => {
  it("the Service's address where ClusterIPs work, which leads to this machine's server", async () => {
    const dns = await start();
    services.put(kubeDns);
    expect(await dns.podServer()).toBe('10.96.0.10');
    const own = dns.localSlices.lister.list();
    expect(own.map(({ endpoints, ports }) => [endpoints?.[0]?.addresses, ports])).toEqual([
      [
        ['127.0.0.1'],
        [
          { name: 'dns', protocol: 'UDP', port: dns.port },
          { name: 'dns-tcp', protocol: 'TCP', port: dns.port },
        ],
      ],
    ]);
  });

  it("the Service's address also where somebody's own DNS is behind it, and we are not", async () => {
    const dns = await start();
    services.put(
      service('kube-system/kube-dns', { ...kubeDns.spec, selector: { app: 'coredns' } }),
    );
    expect(await dns.podServer()).toBe('10.96.0.10');
    expect(dns.localSlices.lister.list()).toEqual([]);
  });

  it('nothing where neither ClusterIPs work nor the port is the one to ask at; the node says why', async () => {
    const dns = await start({ hasClusterIps: false });
    services.put(kubeDns);
    expect(await dns.podServer()).toBeUndefined();
  });

  it('nothing before there is a network of pods, and then what there is', async () => {
    let isThere = false;
    const podCidr = () =>
      isThere ? Promise.resolve('127.0.0.0/24') : Promise.reject(new Error('Docker is away'));
    const dns = await start({ podCidr, hasClusterIps: false });
    services.put(kubeDns);
    expect(dns.problem()).toBe("Names of Services don't resolve in pods: Docker is away.");
    expect(changes).toBe(1);
    isThere = true;
    await dns.podServer();
    expect([dns.problem(), changes]).toEqual([undefined, 2]);
  });

  it("nothing while the machine's firewall drops their questions, which the node says", async () => {
    const dns = await start();
    services.put(kubeDns);
    firewall = 'The firewall ufw drops names.';
    expect([await dns.podServer(), dns.problem(), changes]).toEqual([undefined, firewall, 1]);
    firewall = undefined;
    await dns.lookAtFirewall();
    expect([await dns.podServer(), dns.problem(), changes]).toEqual(['10.96.0.10', undefined, 2]);
  });

  it('of the server where the network of pods is by now', async () => {
    let cidr = '127.0.0.0/24';
    const dns = await start({ podCidr: () => Promise.resolve(cidr) });
    services.put(kubeDns);
    services.sync();
    slices.sync();
    const { port } = dns;
    cidr = '127.0.7.0/24';
    await dns.listen();
    const own = dns.localSlices.lister.list();
    expect([own[0]?.endpoints?.[0]?.addresses, own[0]?.ports?.[0]?.port]).toEqual([
      ['127.0.7.1'],
      dns.port,
    ]);
    expect(await resolve(dns, webName, { address: '127.0.7.1' })).toBe('NXDOMAIN');
    const socket = createSocket('udp4').bind(port, '127.0.0.1');
    await new Promise((done) => socket.once('listening', done));
    socket.close();
  });

  it("the Service's address once ClusterIPs work, and those that were made before find the server still", async () => {
    const [before, later] = [await freePort(), await freePort()];
    let hasClusterIps = false;
    const ports = (has: boolean): number[] => [has ? later : before];
    const dns = await start({ hasClusterIps: () => hasClusterIps, ports });
    services.put(kubeDns);
    services.sync();
    slices.sync();
    expect(dns.port).toBe(before);
    hasClusterIps = true;
    expect(await dns.podServer()).toBe('10.96.0.10');
    expect([dns.port, dns.localSlices.lister.list()[0]?.ports?.[0]?.port]).toEqual([later, later]);
    const answers = [before, later].map((port) => resolve(dns, webName, { port }));
    expect(await Promise.all(answers)).toEqual(['NXDOMAIN', 'NXDOMAIN']);
  });

  it('the same as before while the engine is away', async () => {
    let isAway = false;
    const podCidr = () =>
      isAway ? Promise.reject(new Error('Docker is away')) : Promise.resolve('127.0.0.0/24');
    const dns = await start({ podCidr });
    services.put(kubeDns);
    services.sync();
    slices.sync();
    isAway = true;
    expect([await dns.podServer(), dns.problem(), changes]).toEqual(['10.96.0.10', undefined, 0]);
    expect(await resolve(dns, webName)).toBe('NXDOMAIN');
  });

  it('nothing while another program has the port, which the node says', async () => {
    const first = await start();
    const dns = await start({ hasClusterIps: false, ports: [first.port, 0] });
    expect(dns.problem()).toBe(
      `Names of Services don't resolve in pods: port ${first.port} of 127.0.0.1 is taken by another program.`,
    );
    const proxied = await start({ ports: [first.port, 0] });
    expect(proxied.problem()).toBeUndefined();
  });
});

function write(file: string, text: string): void {
  mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
  writeFileSync(path.join(root, file), text);
}

describe("the machine's name servers", () => {
  it('are read as libc reads them', () => {
    const text = '# made\nnameserver 1.1.1.1\ndomain old\nsearch a b ; c\noptions ndots:2 rotate\n';
    expect(parseResolvConf(text)).toEqual({
      servers: ['1.1.1.1'],
      searches: ['a', 'b'],
      options: ['ndots:2', 'rotate'],
    });
  });

  it("are those behind systemd's stub", async () => {
    write('etc/resolv.conf', 'nameserver 127.0.0.53\nsearch lan\n');
    write('run/systemd/resolve/resolv.conf', 'nameserver 192.168.1.1\nsearch lan\n');
    expect((await readNodeDns(root)).servers).toEqual(['192.168.1.1']);
  });

  it('are never ourselves, are addresses, and change with the file', async () => {
    write('etc/resolv.conf', 'nameserver 10.96.0.10\nnameserver 1.1.1.1\nnameserver x\n');
    const own = () => ['10.96.0.10'];
    const servers = new MachineServers({ root, own, clock, logger: silentLogger });
    await servers.start();
    expect(servers.list()).toEqual([{ address: '1.1.1.1', port: 53 }]);
    write('etc/resolv.conf', 'nameserver 8.8.8.88\n');
    clock.advance(2_000);
    servers.list();
    await expect.poll(() => servers.list()).toEqual([{ address: '8.8.8.88', port: 53 }]);
  });

  it('may be none', async () => {
    const servers = new MachineServers({ root, own: () => [], clock, logger: silentLogger });
    await servers.start();
    expect(servers.list()).toEqual([]);
  });
});
