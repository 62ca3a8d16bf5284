// The Service proxy against a real kernel (test/setup/service-network.ts): a machine, three pods, a
// neighbour on the LAN, and a firewall as Docker's.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { ApplyProblem } from '../../agent/proxy/applier.ts';
import { NftApplier, removeRules, whyNotNftables } from '../../agent/proxy/nft-applier.ts';
import { externalMark } from '../../agent/proxy/table-content.ts';
import { FirewallWatch } from '../../agent/firewall/firewall-watch.ts';
import { followFirewalls, readFirewalls } from '../../agent/firewall/firewalls.ts';
import type { Used } from '../../agent/firewall/passages.ts';
import type { Endpoint, RuleSet, ServicePortRule, Target } from '../../agent/proxy/rules.ts';
import { makeRule, ruleSet } from '../../agent/proxy/testing/services.ts';
import { eventually } from '../setup/cluster.ts';
import {
  bridgeAddress,
  byPod,
  ip,
  lanAddress,
  machineAddress,
  ServiceNetwork,
} from '../setup/service-network.ts';

const network = new ServiceNetwork(`fp${process.pid}`);
const { machine, lan, bridge, pods, system } = network;
const [firstPod = { netns: '', name: '', address: '' }] = pods;
const allPods = pods.map(({ name }) => name);
const table = `flotilla-test-${process.pid}`;
const serviceIp = '10.96.77.10';
const balancerIp = '198.51.100.7';
const http = { host: serviceIp, port: 80 };

function endpoints(numbers: readonly number[], port = 8080): Endpoint[] {
  return numbers.map((n) => ({ address: `10.244.77.${n}`, port }));
}

function target(count: number, port = 8080, whenEmpty: Target['whenEmpty'] = 'reject'): Target {
  return { endpoints: endpoints([2, 3, 4].slice(0, count), port), whenEmpty };
}

function rule(more: Partial<ServicePortRule>): RuleSet {
  const { external = target(3), internal = target(3) } = more;
  const nearby = pods.map(({ address }) => address);
  const base = { clusterIps: [serviceIp], nodePort: 30_080, nearby, serving: nearby };
  return ruleSet(makeRule({ ...base, ...more, external, internal }));
}

describe('the Service proxy in the kernel', () => {
  let losses = 0;
  const own = {
    system,
    clock: systemClock,
    logger: silentLogger,
    table,
    bridge,
    serviceCidr: '10.96.0.0/16',
    onLost: () => void losses++,
  };
  const applier = new NftApplier(own);
  /** As an agent that starts again: it knows nothing of what is there. */
  const applyAnew = async (rules: RuleSet): Promise<readonly ApplyProblem[]> => {
    const another = new NftApplier({ ...own, onLost: () => {} });
    try {
      return [...(await another.apply(rules)), ...(await another.lookAround())];
    } finally {
      another.stop();
    }
  };

  beforeAll(() => network.build());
  afterAll(() => {
    applier.stop();
    network.destroy();
  });

  it('can be done on this machine', async () => {
    expect(await whyNotNftables(system)).toBeUndefined();
  });

  it('spreads connections from this host to a ClusterIP evenly', async () => {
    expect(await applier.apply(rule({}))).toEqual([]);
    expect(await applier.lookAround()).toEqual([]);
    const counts = byPod(await network.ask(machine, { ...http, count: 300 }));
    expect(Object.keys(counts).toSorted()).toEqual(allPods);
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
      network.inside(machine, 'sh', '-c', `echo ${value} > ${file}`);
      await applier.apply(rule({}));
      const answers = await network.ask(firstPod.netns, { ...http, count: 60 });
      network.inside(machine, 'sh', '-c', `echo 1 > ${file}`);
      await applier.apply(rule({}));
      expect(Object.keys(byPod(answers)).toSorted()).toEqual(allPods);
      expect(Object.keys(answers)).toContain(seenBySecondPod);
    },
  );

  it('serves a NodePort to the LAN past a Docker firewall, and shows the client', async () => {
    const answers = await network.ask(lan, { host: machineAddress, port: 30_080, count: 60 });
    expect(Object.keys(answers).toSorted()).toEqual(allPods.map((pod) => `${pod} ${lanAddress}`));
  });

  it('serves a NodePort on every address of this host, also 127.0.0.1', async () => {
    for (const host of ['127.0.0.1', machineAddress, bridgeAddress]) {
      const counts = byPod(await network.ask(machine, { host, port: 30_080, count: 30 }));
      expect(Object.keys(counts).toSorted()).toEqual(allPods);
    }
  });

  it('does not open 127.0.0.0/8 of this host to pods', async () => {
    await network.startServer(machine, 'secret');
    const { netns } = firstPod;
    ip('-n', netns, 'route', 'add', '127.0.0.2/32', 'via', bridgeAddress, 'dev', 'eth0');
    network.inside(netns, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet');
    network.inside(netns, 'ip', 'route', 'del', 'local', '127.0.0.0/8', 'table', 'local');
    const question = { host: '127.0.0.2', port: 8080, count: 1 };
    expect(await network.ask(netns, question)).toEqual({ timeout: 1 });
    expect(byPod(await network.ask(machine, question))).toEqual({ secret: 1 });
  });

  it('serves UDP', async () => {
    const udp = { key: 'default/dns/udp/53', protocol: 'udp', port: 53, nodePort: 30_053 } as const;
    await applier.apply(rule({ ...udp, internal: target(3, 5353), external: target(3, 5353) }));
    const inner = await network.ask(machine, {
      protocol: 'udp',
      host: serviceIp,
      port: 53,
      count: 60,
    });
    expect(Object.keys(byPod(inner)).toSorted()).toEqual(allPods);
    const question = { host: machineAddress, port: 30_053, count: 30 };
    const outer = await network.ask(lan, { protocol: 'udp', ...question });
    expect(Object.keys(byPod(outer)).toSorted()).toEqual(allPods);
  });

  it('moves a UDP client that keeps sending when its endpoint goes', async () => {
    const serve = (number: number): Promise<unknown> => {
      const only = { endpoints: endpoints([number], 5353), whenEmpty: 'reject' } as const;
      const udp = { key: 'default/dns/udp/53', protocol: 'udp', port: 53 } as const;
      const serving = [`10.244.77.${number}`];
      return applier.apply(rule({ ...udp, internal: only, external: only, serving }));
    };
    await serve(2);
    const { child, line } = network.start(machine, 'chatUdp', serviceIp, '53');
    expect(await line()).toMatch(/^pod-2 /);
    await serve(3);
    child.stdin?.write('x');
    expect(await line()).toMatch(/^pod-3 /);
    child.stdin?.end();
  });

  it('keeps a client at its endpoint, also when all rules are written anew, for its time', async () => {
    const sticky = rule({ affinitySeconds: 60 });
    await applier.apply(sticky);
    const before = byPod(await network.ask(machine, { ...http, count: 20 }));
    expect(Object.values(before)).toEqual([20]);
    await applyAnew(sticky);
    const after = byPod(await network.ask(machine, { ...http, count: 20 }));
    expect(after).toEqual(before);
    await applier.apply(rule({ affinitySeconds: 1 }));
    await network.ask(machine, { ...http, count: 5 });
    const known = (): boolean => {
      const sets = network.inside(machine, 'nft', 'list', 'sets', 'ip');
      return sets.includes('expires');
    };
    expect(known()).toBe(true);
    await eventually(() => !known(), 'the client is forgotten');
  });

  it('writes what is new to it as a change: another number of endpoints, a first node port', async () => {
    const handle = (): string | undefined =>
      /^table ip \S+ \{ # handle (\d+)/m.exec(
        network.inside(machine, 'nft', '--handle', 'list', 'table', 'ip', table),
      )?.[1];
    expect(await applier.apply(ruleSet())).toEqual([]);
    const before = handle();
    for (const count of [1, 3, 2])
      expect(
        await applier.apply(rule({ internal: target(count), external: target(count) })),
      ).toEqual([]);
    expect(before).toBeDefined();
    expect(handle()).toBe(before);
  });

  it('refuses at once what no endpoint serves and what no Service has', async () => {
    await applier.apply(rule({ internal: target(0), external: target(0) }));
    const refused = { ECONNREFUSED: 1 };
    for (const from of [machine, firstPod.netns])
      for (const host of [serviceIp, '10.96.99.99'])
        expect(await network.ask(from, { host, port: 80, count: 1 })).toEqual(refused);
    const question = { host: machineAddress, port: 30_080, count: 1 };
    expect(await network.ask(lan, question)).toEqual(refused);
  });

  it('is silent to the LAN when only other nodes have endpoints, but serves this host and its pods', async () => {
    const shortCut = target(3).endpoints;
    await applier.apply(rule({ shortCut, external: target(0, 8080, 'drop') }));
    const question = { host: machineAddress, port: 30_080 };
    expect(await network.ask(lan, { ...question, count: 1 })).toEqual({ timeout: 1 });
    for (const from of [machine, firstPod.netns]) {
      const counts = byPod(await network.ask(from, { ...question, count: 30 }));
      expect(Object.keys(counts).toSorted()).toEqual(allPods);
    }
  });

  it("serves a balancer's address to its sources only", async () => {
    ip('-n', lan, 'route', 'add', `${balancerIp}/32`, 'via', machineAddress);
    const question = { host: balancerIp, port: 80, count: 5 };
    const balanced = (sources: readonly string[] | undefined): RuleSet =>
      rule({ balancerIps: [balancerIp], sources });
    await applier.apply(balanced(['10.77.0.0/16', '192.168.0.0/16']));
    expect(Object.keys(await network.ask(lan, question))).not.toContain('timeout');
    await applier.apply(balanced(['192.168.0.0/16']));
    expect(await network.ask(lan, { ...question, count: 1 })).toEqual({ timeout: 1 });
    await applier.apply(balanced(undefined));
    expect(Object.keys(await network.ask(lan, question))).not.toContain('timeout');
  });

  it("serves at a balancer's own address nothing else of this host, and no node port on bridges", async () => {
    const lone = '10.77.99.7';
    ip('-n', machine, 'address', 'add', `${lone}/32`, 'dev', 'uplink', 'scope', 'host');
    const rules = rule({ balancerIps: [lone] });
    await applier.apply({ ...rules, loneIps: [lone], innerIps: [bridgeAddress] });
    const refused = { ECONNREFUSED: 1 };
    const served = byPod(await network.ask(lan, { host: lone, port: 80, count: 30 }));
    expect(Object.keys(served).toSorted()).toEqual(allPods);
    // There `secret` listens on every address.
    expect(await network.ask(lan, { host: lone, port: 8080, count: 1 })).toEqual(refused);
    expect(await network.ask(lan, { host: lone, port: 30_080, count: 1 })).toEqual(refused);
    const bridged = { host: bridgeAddress, port: 30_080, count: 1 };
    expect(await network.ask(machine, bridged)).toEqual(refused);
    ip('-n', machine, 'address', 'del', `${lone}/32`, 'dev', 'uplink');
  });

  it('refuses and loses no connection while endpoints come and go under load', async () => {
    await applier.apply(rule({}));
    const { child, line } = network.start(firstPod.netns, 'hammer', serviceIp, '80', '2');
    expect(await line()).toBe('going');
    const sets = [[2, 3], [3, 4], [2], [2, 3, 4], [4]];
    for (let turn = 0; turn < 12; turn++) {
      const some = endpoints(sets[turn % sets.length] ?? []);
      const now = { endpoints: some, whenEmpty: 'reject' } as const;
      await applier.apply(rule({ internal: now, external: now }));
    }
    child.stdin?.end();
    const seen = JSON.parse(await line()) as Record<string, number>;
    expect(Object.keys(seen).toSorted()).toEqual(allPods);
  });

  it('keeps open connections when the rules change', async () => {
    await applier.apply(rule({ internal: target(1) }));
    const { child, line } = network.start(machine, 'chat', serviceIp, '80');
    expect(await line()).toMatch(/^pod-2 /);
    await applier.apply(ruleSet());
    child.stdin?.write('x');
    expect(await line()).toMatch(/^pod-2 /);
    child.stdin?.end();
  });

  it('hears of it when somebody else deletes the rules, and writes them again', async () => {
    await applier.apply(rule({}));
    losses = 0;
    network.inside(machine, 'nft', 'delete', 'table', 'ip', table);
    await eventually(() => losses === 1, 'the loss is told');
    await applier.apply(rule({}));
    expect(byPod(await network.ask(machine, { ...http, count: 3 }))).not.toHaveProperty(
      'ECONNREFUSED',
    );
    // Its own deletions are none.
    await applyAnew(rule({}));
    await eventually(() => losses === 2, "another agent's rewrite is told");
  });

  it('names a firewall that comes, leaves it as it is, and takes it back when its owner opens it', async () => {
    await applier.apply(rule({}));
    const used: Used = {
      bridge,
      podCidr: undefined,
      dnsPort: 10_053,
      apiPort: undefined,
      overlay: undefined,
      agentPort: undefined,
      ingressPorts: [],
      mark: Number(externalMark),
    };
    const ending = new AbortController();
    let changes = 0;
    const watch = new FirewallWatch({
      read: () => readFirewalls(system),
      follow: (...how) => followFirewalls(system, ...how),
      used: () => used,
      clock: systemClock,
      logger: silentLogger,
      onChange: () => changes++,
      signal: ending.signal,
    });
    const says = async (word: string) =>
      eventually(() => watch.verdict()?.message.includes(word), `it says ${word}`);
    watch.start();
    await says('no firewall');
    const chain = (policy: string) =>
      `chain inet fw in { type filter hook input priority 5; policy ${policy}; }`;
    network.inside(machine, 'nft', `add table inet fw; add ${chain('drop')}`);
    const before = network.inside(machine, 'nft', 'list', 'table', 'inet', 'fw');
    await says('inet fw of this machine (chain in) drops names that pods here ask for');
    expect(network.inside(machine, 'nft', 'list', 'table', 'inet', 'fw')).toBe(before);
    const remedy = /let them through: (.*) \(as root/.exec(watch.verdict()?.message ?? '')?.[1];
    network.inside(machine, 'sh', '-c', remedy ?? 'false');
    await says('no firewall');
    network.inside(machine, 'nft', 'delete', 'table', 'inet', 'fw');
    network.inside(machine, 'iptables', '-P', 'INPUT', 'DROP');
    await says('iptables of this machine (chain INPUT) drops names');
    network.inside(machine, 'iptables', '-P', 'INPUT', 'ACCEPT');
    await says('no firewall');
    expect(changes).toBe(5);
    ending.abort();
  });

  it('asks Docker for leave only once, and takes everything away again', async () => {
    await applier.apply(rule({}));
    await applyAnew(rule({ affinitySeconds: 60 }));
    const listed = (): string => network.inside(machine, 'iptables', '-S', 'DOCKER-USER');
    expect(listed().match(/-j ACCEPT/g)).toHaveLength(3);
    await applier.remove();
    expect(listed()).not.toContain('flotilla');
    expect(network.inside(machine, 'nft', 'list', 'tables')).not.toContain(table);
    const file = `/proc/sys/net/ipv4/conf/${bridge}/route_localnet`;
    expect(network.inside(machine, 'cat', file).trim()).toBe('0');
  });

  it('leaves the old rules in place when new ones are refused', async () => {
    await applier.apply(rule({}));
    const broken = new NftApplier({ ...own, bridge: 'x"; bad' });
    await expect(broken.apply(rule({}))).rejects.toThrow('nft refused the rules');
    broken.stop();
    const answers = byPod(await network.ask(machine, { ...http, count: 3 }));
    expect(Object.keys(answers).every((pod) => allPods.includes(pod))).toBe(true);
    await applier.remove();
  });

  it('takes all rule sets of the golden files', async () => {
    const here = path.dirname(fileURLToPath(import.meta.url));
    const folder = path.join(here, '../../agent/proxy/testdata');
    const files = readdirSync(folder).filter((name) => name.endsWith('.nft'));
    expect(files.length).toBeGreaterThan(10);
    for (const file of files) {
      const text = readFileSync(path.join(folder, file), 'utf8');
      expect(await system.run('nft', ['--file', '-'], text)).toMatchObject({ exitCode: 0 });
    }
    await removeRules({ system, table: 'flotilla', bridge });
  });
});
