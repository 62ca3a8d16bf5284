// The Service proxy against a real kernel: a machine, three pods on a bridge and a neighbour on a
// LAN, each a network namespace of this test. Docker's forward policy is imitated, so that what
// passes here passes beside Docker. Needs root, nft, iptables and ip.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { Endpoint, RuleSet, ServicePortRule, Target } from '../../agent/proxy/rules.ts';
import { NftApplier, whyNotNftables } from '../../agent/proxy/nft-applier.ts';
import { proxySystem, type ProxySystem } from '../../agent/proxy/system.ts';
import { makeRule, ruleSet } from '../../agent/proxy/testing/services.ts';

const id = `fp${process.pid}`;
const machine = `${id}-m`;
const lan = `${id}-lan`;
const pods = [2, 3, 4].map((n) => ({ netns: `${id}-p${n}`, address: `10.244.77.${n}` }));
const bridge = 'flt-test';
const table = `flotilla-test-${process.pid}`;
const serviceIp = '10.96.77.10';
const canRun = process.getuid?.() === 0 && existsSync('/proc/sys/net/ipv4/conf');

const server = `
import net from 'node:net'; import dgram from 'node:dgram';
const name = process.argv[2];
net.createServer((s) => { s.on('error', () => {}); s.on('data', () => s.write(name + ' ' + s.remoteAddress + '\\n')); })
  .listen(8080, '0.0.0.0', () => {
    const u = dgram.createSocket('udp4');
    u.on('message', (m, from) => u.send(name + ' ' + from.address, from.port, from.address));
    u.bind(5353, '0.0.0.0', () => console.log('ready'));
  });
`;
const client = `
import net from 'node:net'; import dgram from 'node:dgram';
const [protocol, host, port, count] = process.argv.slice(2);
const seen = {};
function tcp() { return new Promise((done) => {
  const s = net.connect({ host, port: Number(port) });
  const end = (what) => { s.destroy(); done(what); };
  s.setTimeout(700, () => end('timeout')); s.on('error', (e) => end(e.code));
  s.on('connect', () => s.write('x')); s.on('data', (d) => end(String(d).trim())); }); }
function udp() { return new Promise((done) => {
  const s = dgram.createSocket('udp4');
  const timer = setTimeout(() => { s.close(); done('timeout'); }, 700);
  s.on('message', (m) => { clearTimeout(timer); s.close(); done(String(m)); });
  s.send('x', Number(port), host); }); }
for (let i = 0; i < Number(count); i++) { const who = await (protocol === 'udp' ? udp() : tcp()); seen[who] = (seen[who] ?? 0) + 1; }
console.log(JSON.stringify(seen));
`;

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] });
}

function inside(netns: string, ...command: string[]): string {
  return execFileSync('ip', ['netns', 'exec', netns, ...command], { encoding: 'utf8' });
}

const scripts = {
  server: path.join(tmpdir(), `${id}-s.mjs`),
  client: path.join(tmpdir(), `${id}-c.mjs`),
};

/** Answers of `count` exchanges: `pod client-address` → how often. */
function ask(
  from: string,
  to: { protocol?: string; host: string; port: number; count: number },
): Record<string, number> {
  const { protocol = 'tcp', host, port, count } = to;
  const output = inside(
    from,
    process.execPath,
    scripts.client,
    protocol,
    host,
    String(port),
    String(count),
  );
  return JSON.parse(output) as Record<string, number>;
}

function byPod(answers: Record<string, number>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [answer, count] of Object.entries(answers)) {
    const pod = answer.split(' ')[0] ?? '';
    counts[pod] = (counts[pod] ?? 0) + count;
  }
  return counts;
}

/** The proxy's system access, moved into the machine's namespace. */
function systemIn(netns: string): ProxySystem {
  const real = proxySystem(0);
  const run: ProxySystem['run'] = (command, args, input) =>
    real.run('ip', ['netns', 'exec', netns, command, ...args], input);
  return {
    isRoot: true,
    run,
    follow: (command, args, ...rest) =>
      real.follow('ip', ['netns', 'exec', netns, command, ...args], ...rest),
    addresses: () => ['10.77.99.1', '10.244.77.1', '127.0.0.1'],
    async listFolder(folder) {
      return (await run('ls', [folder])).stdout.split('\n').filter((name) => name !== '');
    },
    async readText(file) {
      const result = await run('cat', [file]);
      return result.exitCode === 0 ? result.stdout : undefined;
    },
    async writeText(file, text) {
      return (await run('tee', [file], text)).exitCode === 0;
    },
  };
}

function target(count: number, port = 8080, whenEmpty: Target['whenEmpty'] = 'reject'): Target {
  const endpoints: Endpoint[] = pods.slice(0, count).map(({ address }) => ({ address, port }));
  return { endpoints, whenEmpty };
}

function rule(more: Partial<ServicePortRule>): RuleSet {
  const { external = target(3), internal = target(3) } = more;
  const base = { clusterIps: [serviceIp], nodePort: 30_080, nearby: pods.map((p) => p.address) };
  return ruleSet(makeRule({ ...base, serving: base.nearby, ...more, external, internal }));
}

const children: ChildProcess[] = [];

function link(netns: string, name: string, address: string): void {
  ip('-n', machine, 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns);
  ip('-n', netns, 'addr', 'add', address, 'dev', 'eth0');
  for (const [ns, device] of [
    [machine, name],
    [netns, 'eth0'],
    [netns, 'lo'],
  ] as const)
    ip('-n', ns, 'link', 'set', device, 'up');
}

function buildNetwork(): void {
  for (const netns of [machine, lan, ...pods.map((pod) => pod.netns)]) ip('netns', 'add', netns);
  ip('-n', machine, 'link', 'set', 'lo', 'up');
  ip('-n', machine, 'link', 'add', bridge, 'type', 'bridge', 'forward_delay', '0');
  ip('-n', machine, 'addr', 'add', '10.244.77.1/24', 'dev', bridge);
  ip('-n', machine, 'link', 'set', bridge, 'up');
  for (const [index, pod] of pods.entries()) {
    link(pod.netns, `pod${index}`, `${pod.address}/24`);
    ip('-n', machine, 'link', 'set', `pod${index}`, 'master', bridge);
    ip('-n', pod.netns, 'route', 'add', 'default', 'via', '10.244.77.1');
  }
  link(lan, 'uplink', '10.77.99.2/24');
  ip('-n', machine, 'addr', 'add', '10.77.99.1/24', 'dev', 'uplink');
  ip('-n', machine, 'route', 'add', 'default', 'via', '10.77.99.2');
  inside(machine, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
  // Docker's firewall around a bridge network; the LAN is isolated as if it were a second bridge.
  const docker = [
    '-P FORWARD DROP',
    '-N DOCKER-USER',
    '-A FORWARD -j DOCKER-USER',
    `-A FORWARD -i ${bridge} -o uplink -j DROP`,
    `-A FORWARD -i uplink -o ${bridge} -j DROP`,
    `-A FORWARD -o ${bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    `-A FORWARD -i ${bridge} -j ACCEPT`,
  ];
  for (const line of docker) inside(machine, 'iptables', ...line.split(' '));
}

function startPod(pod: (typeof pods)[number]): Promise<void> {
  const name = `pod-${pod.address.split('.')[3]}`;
  const args = ['netns', 'exec', pod.netns, process.execPath, scripts.server, name];
  const child = spawn('ip', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`${name} ended early`)));
    child.stdout.once('data', () => resolve());
  });
}

describe.runIf(canRun)('the Service proxy in the kernel', () => {
  const system = systemIn(machine);
  const surroundings = { system, clock: systemClock, logger: silentLogger };
  const own = { ...surroundings, table, bridge, serviceCidr: '10.96.0.0/16' };
  const applier = new NftApplier(own);

  beforeAll(async () => {
    writeFileSync(scripts.server, server);
    writeFileSync(scripts.client, client);
    buildNetwork();
    await Promise.all(pods.map(startPod));
  });

  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    for (const netns of [machine, lan, ...pods.map((pod) => pod.netns)])
      if (existsSync(`/run/netns/${netns}`)) ip('netns', 'del', netns);
    for (const script of Object.values(scripts)) rmSync(script, { force: true });
  });

  it('can be done on this machine', async () => {
    expect(await whyNotNftables(system)).toBeUndefined();
  });

  it('spreads connections from this host to a ClusterIP evenly', async () => {
    expect(await applier.apply(rule({}))).toEqual([]);
    const counts = byPod(ask(machine, { host: serviceIp, port: 80, count: 300 }));
    expect(Object.keys(counts).toSorted()).toEqual(['pod-2', 'pod-3', 'pod-4']);
    // Five standard deviations around 100.
    for (const count of Object.values(counts)) expect(Math.abs(count - 100)).toBeLessThan(41);
  });

  const bridgeNetfilter = [
    ['1', 'pod-3 10.244.77.2'],
    ['0', 'pod-3 10.244.77.1'],
  ] as const;
  it.each(bridgeNetfilter)(
    'answers a pod that reaches itself among others (bridge-nf-call-iptables=%s)',
    async (value, seenBySecondPod) => {
      const file = '/proc/sys/net/bridge/bridge-nf-call-iptables';
      inside(machine, 'sh', '-c', `echo ${value} > ${file}`);
      await applier.apply(rule({}));
      const [pod] = pods;
      const answers = ask(pod?.netns ?? '', { host: serviceIp, port: 80, count: 60 });
      inside(machine, 'sh', '-c', `echo 1 > ${file}`);
      await applier.apply(rule({}));
      expect(Object.keys(byPod(answers)).toSorted()).toEqual(['pod-2', 'pod-3', 'pod-4']);
      expect(Object.keys(answers)).toContain(seenBySecondPod);
    },
  );

  it('serves a NodePort to the LAN past a Docker firewall, and shows the client', async () => {
    const answers = ask(lan, { host: '10.77.99.1', port: 30080, count: 60 });
    expect(Object.keys(answers).toSorted()).toEqual([
      'pod-2 10.77.99.2',
      'pod-3 10.77.99.2',
      'pod-4 10.77.99.2',
    ]);
  });

  it('serves a NodePort on every address of this host, also 127.0.0.1', async () => {
    for (const host of ['127.0.0.1', '10.77.99.1', '10.244.77.1']) {
      const counts = byPod(ask(machine, { host, port: 30080, count: 30 }));
      expect(Object.keys(counts).toSorted()).toEqual(['pod-2', 'pod-3', 'pod-4']);
    }
  });

  it('does not open 127.0.0.0/8 of this host to pods', async () => {
    const child = spawn('ip', [
      'netns',
      'exec',
      machine,
      process.execPath,
      scripts.server,
      'secret',
    ]);
    children.push(child);
    await new Promise((resolve) => void child.stdout.once('data', resolve));
    const [pod] = pods;
    ip('-n', pod?.netns ?? '', 'route', 'add', '127.0.0.2/32', 'via', '10.244.77.1', 'dev', 'eth0');
    inside(pod?.netns ?? '', 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet');
    inside(pod?.netns ?? '', 'ip', 'route', 'del', 'local', '127.0.0.0/8', 'table', 'local');
    expect(ask(pod?.netns ?? '', { host: '127.0.0.2', port: 8080, count: 1 })).toEqual({
      timeout: 1,
    });
    expect(byPod(ask(machine, { host: '127.0.0.2', port: 8080, count: 1 }))).toEqual({ secret: 1 });
  });

  it('serves UDP', async () => {
    const udp = { key: 'default/dns/udp/53', protocol: 'udp', port: 53, nodePort: 30053 } as const;
    await applier.apply(rule({ ...udp, internal: target(3, 5353), external: target(3, 5353) }));
    const inner = ask(machine, { protocol: 'udp', host: serviceIp, port: 53, count: 60 });
    expect(Object.keys(byPod(inner)).toSorted()).toEqual(['pod-2', 'pod-3', 'pod-4']);
    const outer = ask(lan, { protocol: 'udp', host: '10.77.99.1', port: 30053, count: 30 });
    expect(Object.keys(byPod(outer)).toSorted()).toEqual(['pod-2', 'pod-3', 'pod-4']);
  });

  it('keeps a client at its endpoint where the Service wants that', async () => {
    await applier.apply(rule({ affinitySeconds: 60 }));
    const answers = byPod(ask(machine, { host: serviceIp, port: 80, count: 20 }));
    expect(Object.values(answers)).toEqual([20]);
  });

  it('refuses at once what no endpoint serves and what no Service has', async () => {
    await applier.apply(rule({ internal: target(0), external: target(0) }));
    const [pod] = pods;
    const refused = { ECONNREFUSED: 1 };
    for (const from of [machine, pod?.netns ?? ''])
      for (const host of [serviceIp, '10.96.99.99'])
        expect(ask(from, { host, port: 80, count: 1 })).toEqual(refused);
    expect(ask(lan, { host: '10.77.99.1', port: 30080, count: 1 })).toEqual(refused);
  });

  it('is silent to the LAN when only other nodes have endpoints, but serves this host', async () => {
    await applier.apply(rule({ shortCut: target(3).endpoints, external: target(0, 8080, 'drop') }));
    expect(ask(lan, { host: '10.77.99.1', port: 30080, count: 1 })).toEqual({ timeout: 1 });
    const counts = byPod(ask(machine, { host: '127.0.0.1', port: 30080, count: 30 }));
    expect(Object.keys(counts).toSorted()).toEqual(['pod-2', 'pod-3', 'pod-4']);
  });

  it('keeps open connections when the rules change', async () => {
    await applier.apply(rule({ internal: target(1) }));
    const chat = `
      import net from 'node:net';
      const s = net.connect({ host: '${serviceIp}', port: 80 }, () => s.write('x'));
      s.on('data', (d) => console.log(String(d).trim()));
      process.stdin.on('data', () => s.write('x')); process.stdin.on('end', () => s.destroy());`;
    const args = ['netns', 'exec', machine, process.execPath, '--input-type=module', '-e', chat];
    const child = spawn('ip', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(child);
    const line = (): Promise<string> =>
      new Promise(
        (resolve) => void child.stdout.once('data', (data) => resolve(String(data).trim())),
      );
    expect(await line()).toMatch(/^pod-2 /);
    await applier.apply(ruleSet());
    const again = line();
    child.stdin.write('x');
    expect(await again).toMatch(/^pod-2 /);
    child.stdin.end();
  });

  it('asks Docker for leave only once, and takes everything away again', async () => {
    await applier.apply(rule({}));
    await applier.apply(rule({}));
    const listed = (): string => inside(machine, 'iptables', '-S', 'DOCKER-USER');
    expect(listed().match(/-j ACCEPT/g)).toHaveLength(3);
    await applier.remove();
    expect(listed()).not.toContain('flotilla');
    expect(inside(machine, 'nft', 'list', 'tables')).not.toContain(table);
  });

  it('leaves the old rules in place when new ones are refused', async () => {
    await applier.apply(rule({}));
    const broken = new NftApplier({ ...own, bridge: 'x"; bad' });
    await expect(broken.apply(rule({}))).rejects.toThrow('nft refused the rules');
    expect(Object.values(ask(machine, { host: serviceIp, port: 80, count: 3 }))).not.toEqual([]);
    await applier.remove();
  });
});
