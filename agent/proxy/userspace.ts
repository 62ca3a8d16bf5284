// NodePorts without root: this process listens and forwards, TCP by connection and UDP by client.
// It can't do ClusterIPs: those addresses belong to no interface, so nobody can listen on them
// without changing the kernel's tables. Endpoints see this host as their client.
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer } from 'node:net';
import type { Clock } from '#kube/base/clock.ts';
import type { Applier, ApplyProblem } from './applier.ts';
import type { Protocol, RuleSet, ServicePortRule } from './rules.ts';
import { TcpForwarder } from './tcp-forwarder.ts';
import { UdpForwarder } from './udp-forwarder.ts';

export interface UserspaceOptions {
  readonly clock: Clock;
  /** Where to listen; `0.0.0.0` for every address of this machine. */
  readonly address: string;
}

interface Forwarder {
  update(rule: ServicePortRule): void;
  close(): Promise<void>;
}

export class UserspaceApplier implements Applier {
  readonly mode = 'userspace';
  readonly #options: UserspaceOptions;
  /** `tcp/30080` → who serves it. */
  readonly #forwarders = new Map<string, Forwarder>();

  constructor(options: UserspaceOptions) {
    this.#options = options;
  }

  async apply(rules: RuleSet): Promise<readonly ApplyProblem[]> {
    const wanted = new Map<string, ServicePortRule>();
    for (const rule of rules.ports)
      if (rule.nodePort !== undefined) wanted.set(`${rule.protocol}/${rule.nodePort}`, rule);
    for (const [key, forwarder] of this.#forwarders)
      if (!wanted.has(key)) {
        this.#forwarders.delete(key);
        await forwarder.close();
      }
    const problems: ApplyProblem[] = [];
    for (const [key, rule] of wanted) {
      const known = this.#forwarders.get(key);
      if (known !== undefined) known.update(rule);
      else await this.#open(key, rule, problems);
    }
    return problems;
  }

  async remove(): Promise<void> {
    const forwarders = [...this.#forwarders.values()];
    this.#forwarders.clear();
    await Promise.all(forwarders.map((forwarder) => forwarder.close()));
  }

  async #open(key: string, rule: ServicePortRule, problems: ApplyProblem[]): Promise<void> {
    const port = rule.nodePort ?? 0;
    try {
      this.#forwarders.set(key, await this.#listen(rule.protocol, port, rule));
    } catch (error) {
      // Told to people; the next sync tries again, in case the port has become free.
      const why = error instanceof Error ? error.message : String(error);
      problems.push({ message: `NodePort ${port} of ${rule.key} can't be opened: ${why}.` });
    }
  }

  #listen(protocol: Protocol, port: number, rule: ServicePortRule): Promise<Forwarder> {
    return protocol === 'tcp' ? this.#listenTcp(port, rule) : this.#listenUdp(port, rule);
  }

  #listenTcp(port: number, rule: ServicePortRule): Promise<Forwarder> {
    // allowHalfOpen: each side says for itself when it has sent everything.
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: this.#options.address, port, exclusive: true }, () => {
        server.off('error', reject);
        resolve(new TcpForwarder(server, rule));
      });
    });
  }

  #listenUdp(port: number, rule: ServicePortRule): Promise<Forwarder> {
    const socket: UdpSocket = createSocket({ type: 'udp4' });
    return new Promise((resolve, reject) => {
      socket.once('error', (error) => {
        socket.close();
        reject(error);
      });
      socket.bind({ address: this.#options.address, port, exclusive: true }, () => {
        socket.removeAllListeners('error');
        resolve(new UdpForwarder(socket, rule, this.#options.clock));
      });
    });
  }
}
