// The home's network: a switch for each segment and the router between them, in a namespace of its own that has
// no way out. So nothing of the lab can reach any network of this machine, and Docker's rules for
// bridged frames here don't see it. Addresses: 10.77.0.0/24, 10.78.0.0/24; the router is .254 in each.
import { HeldNetwork } from './held-network.ts';

export const segments = ['10.77.0', '10.78.0'] as const;
export type Segment = (typeof segments)[number];

export interface Plug {
  /** The end of its cable at the switch. */
  readonly port: string;
  readonly segment: Segment;
  /** The last part of its address. */
  readonly host: number;
}

function bridgeOf(segment: Segment): string {
  return `br${segments.indexOf(segment)}`;
}

export class HomeNetwork {
  readonly #network = new HeldNetwork();

  async start(): Promise<this> {
    await this.#network.start();
    const bridges = segments.map((segment) => {
      const name = bridgeOf(segment);
      return `ip link add ${name} type bridge mcast_snooping 0 forward_delay 0
        ip address add ${segment}.254/24 dev ${name}
        ip link set ${name} up`;
    });
    const forward = 'echo 1 > /proc/sys/net/ipv4/ip_forward';
    await this.#network.run('sh', '-ec', [...bridges, forward].join('\n'));
    return this;
  }

  /** A cable from a machine's `eth0` (`pid`: of a process on its network) to the switch of its segment. */
  async plugIn(pid: number, { port, segment, host }: Plug): Promise<void> {
    const { pid: here } = this.#network;
    const mac = `02:00:${segment.split('.').map(hex).join(':')}:${hex(host)}`;
    const own = ['eth0', 'address', mac, 'netns', String(pid)];
    const other = ['type', 'veth', 'peer', 'name', port, 'netns', String(here)];
    await this.#network.run('ip', 'link', 'add', ...own, ...other);
    await this.#network.run('ip', 'link', 'set', port, 'master', bridgeOf(segment), 'up');
    await this.#runOn(pid, addressScript(segment, host));
  }

  /** Pulls the cable, or puts it in again. */
  async setCable(port: string, isIn: boolean): Promise<void> {
    await this.#network.run('ip', 'link', 'set', port, isIn ? 'up' : 'down');
  }

  /** As a router does when a lease has ended. */
  async changeAddress(pid: number, segment: Segment, host: number): Promise<void> {
    await this.#runOn(pid, `ip address flush dev eth0\n${addressScript(segment, host)}`);
  }

  async #runOn(pid: number, script: string): Promise<void> {
    const enter = ['nsenter', `--target=${pid}`, '--net', '--'];
    await this.#network.run(...enter, 'sh', '-ec', script);
  }

  end(): Promise<void> {
    return this.#network.end();
  }
}

function addressScript(segment: Segment, host: number): string {
  return `ip address add ${segment}.${host}/24 brd + dev eth0
    ip link set eth0 up
    ip route replace default via ${segment}.254`;
}

function hex(part: number | string): string {
  return Number(part).toString(16).padStart(2, '0');
}
