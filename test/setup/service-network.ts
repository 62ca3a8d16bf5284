// A machine, three pods on its bridge and a neighbour on a LAN, each a network namespace of its own, for
// the Service proxy in a real kernel. Docker's firewall is imitated, so that what passes here passes
// beside Docker. Nothing leaves: no namespace has a way out. Needs root, ip, iptables.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { proxySystem, type ProxySystem } from '../../agent/proxy/system.ts';

const traffic = path.join(path.dirname(fileURLToPath(import.meta.url)), 'service-traffic.ts');

export const machineAddress = '10.77.99.1';
export const lanAddress = '10.77.99.2';
export const bridgeAddress = '10.244.77.1';

export interface NetworkPod {
  readonly netns: string;
  readonly name: string;
  readonly address: string;
}

export interface Question {
  readonly protocol?: 'tcp' | 'udp';
  readonly host: string;
  readonly port: number;
  readonly count: number;
}

export interface Comparison {
  /** Gbit/s into a sink, or new connections a second. */
  readonly kind: 'pump' | 'rate';
  readonly seconds: number;
  readonly rounds: number;
  /** `host:port` */
  readonly ways: readonly string[];
}

/** A process that goes on. */
export interface Running {
  readonly child: ChildProcess;
  /** The next line it says. */
  line(): Promise<string>;
}

export class ServiceNetwork {
  readonly machine: string;
  readonly lan: string;
  readonly bridge = 'flt-test';
  readonly pods: readonly NetworkPod[];
  readonly system: ProxySystem;
  readonly #children: ChildProcess[] = [];
  /** By namespace. */
  readonly #askers = new Map<string, Running>();
  #holder = 0;

  /** `id`: begins the names of the namespaces. */
  constructor(id: string) {
    this.machine = `${id}-m`;
    this.lan = `${id}-lan`;
    this.pods = [2, 3, 4].map((n) => ({
      netns: `${id}-p${n}`,
      name: `pod-${n}`,
      address: `10.244.77.${n}`,
    }));
    this.system = systemIn(this.machine, () => this.#holder);
  }

  async build(): Promise<void> {
    const { machine, lan, pods, bridge } = this;
    for (const netns of [machine, lan, ...pods.map((pod) => pod.netns)]) ip('netns', 'add', netns);
    ip('-n', machine, 'link', 'set', 'lo', 'up');
    ip('-n', machine, 'link', 'add', bridge, 'type', 'bridge', 'forward_delay', '0');
    ip('-n', machine, 'addr', 'add', `${bridgeAddress}/24`, 'dev', bridge);
    ip('-n', machine, 'link', 'set', bridge, 'up');
    for (const [index, pod] of pods.entries()) {
      this.#link(pod.netns, `pod${index}`, `${pod.address}/24`);
      ip('-n', machine, 'link', 'set', `pod${index}`, 'master', bridge);
      ip('-n', pod.netns, 'route', 'add', 'default', 'via', bridgeAddress);
    }
    this.#link(lan, 'uplink', `${lanAddress}/24`);
    ip('-n', machine, 'addr', 'add', `${machineAddress}/24`, 'dev', 'uplink');
    ip('-n', machine, 'route', 'add', 'default', 'via', lanAddress);
    this.inside(machine, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
    // Its files are read by way of a process that sees them: a command each would take most of the time.
    const holder = spawn('ip', ['netns', 'exec', machine, 'sleep', 'infinity']);
    this.#children.push(holder);
    this.#holder = holder.pid ?? 0;
    this.#imitateDocker();
    await Promise.all(pods.map((pod) => this.startServer(pod.netns, pod.name)));
  }

  /** Docker's firewall around a bridge network; the LAN is isolated as if it were a second bridge. */
  #imitateDocker(): void {
    const { machine, bridge } = this;
    const rules = [
      '-P FORWARD DROP',
      '-N DOCKER-USER',
      '-A FORWARD -j DOCKER-USER',
      `-A FORWARD -i ${bridge} -o uplink -j DROP`,
      `-A FORWARD -i uplink -o ${bridge} -j DROP`,
      `-A FORWARD -o ${bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
      `-A FORWARD -i ${bridge} -j ACCEPT`,
    ];
    for (const rule of rules) this.inside(machine, 'iptables', ...rule.split(' '));
  }

  /** Those that were started by this object. */
  endProcesses(): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }

  destroy(): void {
    this.endProcesses();
    for (const netns of [this.machine, this.lan, ...this.pods.map((pod) => pod.netns)])
      if (existsSync(`/run/netns/${netns}`)) ip('netns', 'del', netns);
  }

  inside(netns: string, ...command: string[]): string {
    const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe'];
    return execFileSync('ip', ['netns', 'exec', netns, ...command], { encoding: 'utf8', stdio });
  }

  /** A process that serves as pods do; resolves when it listens. */
  async startServer(netns: string, name: string): Promise<void> {
    if ((await this.start(netns, 'serve', name).line()) !== 'ready')
      throw new Error(`${name} does not serve`);
  }

  /** A mode of service-traffic.ts that goes on. */
  start(netns: string, ...args: string[]): Running {
    const command = ['netns', 'exec', netns, process.execPath, traffic, ...args];
    const child = spawn('ip', command, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#children.push(child);
    const lines: string[] = [];
    const reader = createInterface({ input: child.stdout });
    reader.on('line', (line) => lines.push(line));
    const exited = once(child, 'exit');
    const line = async (): Promise<string> => {
      if (lines.length === 0) await Promise.race([once(reader, 'line'), exited]);
      const next = lines.shift();
      if (next === undefined) throw new Error(`${args.join(' ')} ended without a word`);
      return next;
    };
    return { child, line };
  }

  /** Answers: `pod client-address` → how often. */
  async ask(from: string, question: Question): Promise<Record<string, number>> {
    const { protocol = 'tcp', host, port, count } = question;
    const asker = this.#askers.get(from) ?? this.start(from, 'answerAll');
    this.#askers.set(from, asker);
    asker.child.stdin?.write(`${protocol} ${host} ${port} ${count}\n`);
    return JSON.parse(await asker.line()) as Record<string, number>;
  }

  /** Figures of `compare` in service-traffic.ts: a list for each way. */
  compare(from: string, { kind, seconds, rounds, ways }: Comparison): number[][] {
    const args = [kind, String(seconds), String(rounds), ...ways];
    return JSON.parse(
      this.inside(from, process.execPath, traffic, 'compare', ...args),
    ) as number[][];
  }

  #link(netns: string, name: string, address: string): void {
    const { machine } = this;
    ip('-n', machine, 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns);
    ip('-n', netns, 'addr', 'add', address, 'dev', 'eth0');
    for (const [ns, device] of [
      [machine, name],
      [netns, 'eth0'],
      [netns, 'lo'],
    ] as const)
      ip('-n', ns, 'link', 'set', device, 'up');
  }
}

/** Answers by pod, whoever asked. */
export function byPod(answers: Record<string, number>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [answer, count] of Object.entries(answers)) {
    const [pod = ''] = answer.split(' ');
    counts[pod] = (counts[pod] ?? 0) + count;
  }
  return counts;
}

export function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] });
}

/**
 * The proxy's system access, moved into a namespace. `holder`: a process of `ip netns exec` in it, which
 * has its /sys; without one there is nothing below /sys.
 */
export function systemIn(netns: string, holder: () => number = () => 0): ProxySystem {
  const real = proxySystem(0);
  const enter = `--net=/run/netns/${netns}`;
  // Enters the network only: `ip netns exec` would mount a /sys first, at each command.
  const run: ProxySystem['run'] = (command, args, input) =>
    real.run('nsenter', [enter, command, ...args], input);
  const seen = (file: string): string => `/proc/${holder()}/root${file}`;
  // Whose /proc/sys/net it is depends on who reads.
  const isOfReader = (file: string): boolean => file.startsWith('/proc/');
  return {
    isRoot: true,
    run,
    follow: (command, args, ...rest) => real.follow('nsenter', [enter, command, ...args], ...rest),
    addresses: () => [machineAddress, bridgeAddress, '127.0.0.1'],
    bridgeAddresses: () => [bridgeAddress],
    listFolder: (folder) => real.listFolder(seen(folder)),
    async readText(file) {
      if (!isOfReader(file)) return real.readText(seen(file));
      const result = await run('cat', [file]);
      return result.exitCode === 0 ? result.stdout : undefined;
    },
    async writeText(file, text) {
      if (!isOfReader(file)) return real.writeText(seen(file), text);
      return (await run('tee', [file], text)).exitCode === 0;
    },
  };
}
