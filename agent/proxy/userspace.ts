// NodePorts and balancers' addresses without root: this process listens and forwards, TCP by connection
// and UDP by client. It can't do ClusterIPs: those addresses belong to no interface, so nobody can
// listen on them without changing the kernel's tables. Endpoints see this host as their client.
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer } from 'node:net';
import type { Clock } from '#kube/base/clock.ts';
import { useCompilers } from '../compilers.ts';
import { isWithin } from './addresses.ts';
import type { Applier, ApplyProblem } from './applier.ts';
import type { RuleSet, ServicePortRule } from './rules.ts';
import { TcpForwarder, type ForwarderOptions } from './tcp-forwarder.ts';
import { UdpForwarder } from './udp-forwarder.ts';

export interface UserspaceOptions {
  readonly clock: Clock;
  /** Where NodePorts listen; `0.0.0.0` for every address of this machine. */
  readonly address: string;
  /** Of this machine: external addresses among them are served, too. */
  readonly ownAddresses: () => readonly string[];
}

/** A place to listen at, and for whom. */
interface Door {
  readonly address: string;
  readonly port: number;
  /** For people. */
  readonly what: string;
  readonly rule: ServicePortRule;
  readonly mayCall: ForwarderOptions['mayCall'];
}

interface Forwarder {
  update(rule: ServicePortRule): void;
  close(): Promise<void>;
}

export class UserspaceApplier implements Applier {
  readonly mode = 'userspace';
  readonly #options: UserspaceOptions;
  /** `tcp/0.0.0.0:30080` → who serves it. */
  readonly #forwarders = new Map<string, Forwarder>();

  constructor(options: UserspaceOptions) {
    this.#options = options;
  }

  async apply(rules: RuleSet): Promise<readonly ApplyProblem[]> {
    const wanted = this.#doors(rules);
    for (const [key, forwarder] of this.#forwarders)
      if (!wanted.has(key)) {
        this.#forwarders.delete(key);
        await forwarder.close();
      }
    const problems: ApplyProblem[] = [];
    for (const [key, door] of wanted) {
      const known = this.#forwarders.get(key);
      if (known !== undefined) known.update(door.rule);
      else await this.#open(key, door, problems);
    }
    return problems;
  }

  lookAround(): Promise<readonly ApplyProblem[]> {
    return Promise.resolve([]);
  }

  stop(): void {
    void this.remove();
  }

  async remove(): Promise<void> {
    const forwarders = [...this.#forwarders.values()];
    this.#forwarders.clear();
    await Promise.all(forwarders.map((forwarder) => forwarder.close()));
  }

  /** Of two Services that claim the same, the first has it. */
  #doors(rules: RuleSet): ReadonlyMap<string, Door> {
    const { address, ownAddresses } = this.#options;
    const own = ownAddresses();
    const doors = new Map<string, Door>();
    for (const rule of rules.ports)
      for (const door of [
        ...(rule.nodePort === undefined
          ? []
          : [{ address, port: rule.nodePort, what: 'NodePort', rule, mayCall: anybody }]),
        ...addressDoors(rule, rule.externalIps, anybody, own),
        ...addressDoors(rule, rule.balancerIps, fromSources, own),
      ]) {
        const key = `${rule.protocol}/${door.address}:${door.port}`;
        if (!doors.has(key)) doors.set(key, door);
      }
    return doors;
  }

  async #open(key: string, door: Door, problems: ApplyProblem[]): Promise<void> {
    useCompilers();
    const { address, port, what, rule } = door;
    try {
      this.#forwarders.set(key, await this.#listen(door));
    } catch (error) {
      // Told to people; the next sync tries again, in case the port has become free.
      const why = error instanceof Error ? error.message : String(error);
      const where = what === 'NodePort' ? `${port}` : `${address}:${port}`;
      problems.push({ message: `${what} ${where} of ${rule.key} can't be opened: ${why}.` });
    }
  }

  #listen(door: Door): Promise<Forwarder> {
    const { rule, mayCall, address, port } = door;
    const options = { rule, mayCall, clock: this.#options.clock };
    switch (rule.protocol) {
      case 'tcp':
        return listenTcp(address, port, options);
      case 'udp':
        return listenUdp(address, port, options);
      case 'sctp':
        return Promise.reject(new Error('SCTP needs nftables'));
    }
  }
}

function addressDoors(
  rule: ServicePortRule,
  ips: readonly string[],
  mayCall: Door['mayCall'],
  own: readonly string[],
): readonly Door[] {
  const { port } = rule;
  return ips
    .filter((ip) => own.includes(ip))
    .map((address) => ({ address, port, what: 'Address', rule, mayCall }));
}

function anybody(): boolean {
  return true;
}

function fromSources({ sources }: ServicePortRule, address: string): boolean {
  return sources === undefined || sources.some((range) => isWithin(address, range));
}

function listenTcp(address: string, port: number, options: ForwarderOptions): Promise<Forwarder> {
  // allowHalfOpen: each side says for itself when it has sent everything.
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address, port, exclusive: true }, () => {
      server.off('error', reject);
      resolve(new TcpForwarder(server, options));
    });
  });
}

function listenUdp(address: string, port: number, options: ForwarderOptions): Promise<Forwarder> {
  const socket: UdpSocket = createSocket({ type: 'udp4' });
  return new Promise((resolve, reject) => {
    socket.once('error', (error) => {
      socket.close();
      reject(error);
    });
    socket.bind({ address, port, exclusive: true }, () => {
      socket.removeAllListeners('error');
      resolve(new UdpForwarder(socket, options));
    });
  });
}
