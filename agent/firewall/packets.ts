// Pure: what becomes of a packet in a firewall's chain, as far as its rules can be read. A rule that asks for what is not
// known of the packet (who sent it, how many came) may let it pass: nobody is told of a firewall that perhaps does.

export type Hook = 'input' | 'forward';

/** The first of a connection. */
export interface Packet {
  readonly hook: Hook;
  /** Undefined: some device that is none of ours. */
  readonly inDevice: string | undefined;
  /** Undefined: as above, or none. */
  readonly outDevice: string | undefined;
  /** Undefined: any. */
  readonly protocol: 'tcp' | 'udp' | undefined;
  readonly port: number | undefined;
  /** Where it comes from; undefined: anywhere. */
  readonly source: string | undefined;
  readonly mark: number;
  /** Whether its destination was translated. */
  readonly isTranslated: boolean;
}

/** Undefined: that depends on what is not known. */
export type Condition = (packet: Packet) => boolean | undefined;

export type Verdict =
  | { readonly kind: 'accept' | 'drop' | 'return' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string };

export interface Rule {
  readonly conditions: readonly Condition[];
  readonly verdict: Verdict;
}

export interface Chain {
  readonly name: string;
  readonly rules: readonly Rule[];
  /** Of one that packets enter by themselves. */
  readonly hook?: Hook;
  readonly policy?: 'accept' | 'drop';
}

/** A table of nftables, or iptables' own. */
export interface Firewall {
  /** As its program calls it: `inet filter`. */
  readonly name: string;
  readonly program: 'nft' | 'iptables' | 'ufw' | 'firewalld';
  readonly chains: ReadonlyMap<string, Chain>;
}

type Fate = 'accept' | 'drop' | 'return';

/** Deeper than the kernel goes. */
const maxDepth = 32;

/** Whether the chain drops it for certain. */
export function isDropped(firewall: Firewall, chain: Chain, packet: Packet): boolean {
  const walk = new Walk(firewall, packet);
  const fate = walk.through(chain, 0);
  const end = fate === 'return' ? (chain.policy ?? 'accept') : fate;
  return end === 'drop' && !walk.mayHavePassed;
}

class Walk {
  readonly #firewall: Firewall;
  readonly #packet: Packet;
  mayHavePassed = false;

  constructor(firewall: Firewall, packet: Packet) {
    this.#firewall = firewall;
    this.#packet = packet;
  }

  through(chain: Chain, depth: number): Fate {
    for (const { conditions, verdict } of chain.rules) {
      const match = allOf(conditions, this.#packet);
      if (match === false) continue;
      const fate = this.#follow(verdict, depth);
      if (match === true && fate !== undefined) return fate;
      // Perhaps so: what is dropped perhaps is not told, and neither is what perhaps passes.
      if (fate === 'accept') this.mayHavePassed = true;
    }
    return 'return';
  }

  /** Undefined: the next rule is looked at. */
  #follow(verdict: Verdict, depth: number): Fate | undefined {
    if (verdict.kind !== 'jump' && verdict.kind !== 'goto') return verdict.kind;
    const target = this.#firewall.chains.get(verdict.chain);
    if (target === undefined || depth >= maxDepth) return undefined;
    const fate = this.through(target, depth + 1);
    return fate === 'return' && verdict.kind === 'jump' ? undefined : fate;
  }
}

function allOf(conditions: readonly Condition[], packet: Packet): boolean | undefined {
  const found = conditions.map((condition) => condition(packet));
  if (found.includes(false)) return false;
  return found.includes(undefined) ? undefined : true;
}

export const unknown: Condition = () => undefined;

export function not(condition: Condition): Condition {
  return (packet) => {
    const found = condition(packet);
    return found === undefined ? undefined : !found;
  };
}

/** A device's name as firewalls write it: `eth0`, `flt-*` (nft), `flt-+` (iptables). */
export function isDevice(pattern: string, device: string | undefined): boolean | undefined {
  const stem = /^(.*)[*+]$/.exec(pattern)?.[1];
  // Of a device that is none of ours nobody knows the name; the loopback it is not.
  if (device === undefined) return pattern === 'lo' ? false : undefined;
  return stem === undefined ? device === pattern : device.startsWith(stem);
}
