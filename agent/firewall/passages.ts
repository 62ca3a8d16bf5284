// Pure: what a node's firewall has to let in and through, which of it a firewall drops, and what to do about that: in the
// words of the program whose firewall it is. It is never changed: it is the owner's.
import { isDropped, type Chain, type Firewall, type Packet } from './packets.ts';

/** What is used of this machine by now. */
export interface Used {
  readonly bridge: string;
  /** Of pods here; undefined: not known yet. */
  readonly podCidr: string | undefined;
  /** The port of this machine that pods ask for names at; undefined: none. */
  readonly dnsPort: number | undefined;
  /** At which pods reach the API; undefined: they don't need this machine for that. */
  readonly apiPort: number | undefined;
  /** The end of the overlay, and its port: while there are machines that are reached by it. */
  readonly overlay: { readonly device: string; readonly port: number } | undefined;
  /** Of the agent, where others than this machine may speak with it. */
  readonly agentPort: number | undefined;
  /** Of apps by their host names. */
  readonly ingressPorts: readonly number[];
  /** That the cluster's own rules put on packets which are to pass. */
  readonly mark: number;
}

export type PassageName = 'dns' | 'api' | 'overlay' | 'agent' | 'ingress' | 'pods';

interface Passage {
  readonly name: PassageName;
  /** What does not work without. */
  readonly what: string;
  readonly packets: readonly Packet[];
}

export interface Obstacle {
  /** What is held back. */
  readonly names: ReadonlySet<PassageName>;
  /** A sentence. */
  readonly message: string;
}

const plain: Omit<Packet, 'hook'> = {
  inDevice: undefined,
  outDevice: undefined,
  protocol: 'tcp',
  port: undefined,
  source: undefined,
  mark: 0,
  isTranslated: false,
};

export function obstacles(firewalls: readonly Firewall[], used: Used): readonly Obstacle[] {
  const needed = passages(used);
  return firewalls.flatMap((firewall) =>
    [...firewall.chains.values()].flatMap((chain) => {
      const held = needed.filter(({ packets }) =>
        packets.some((packet) => chain.hook === packet.hook && isDropped(firewall, chain, packet)),
      );
      return held.length === 0 ? [] : [obstacle(firewall, chain, held, used)];
    }),
  );
}

function passages(used: Used): readonly Passage[] {
  const { bridge, podCidr, dnsPort, apiPort, overlay, agentPort, ingressPorts, mark } = used;
  const found: Passage[] = [];
  const ofPods = { ...plain, hook: 'input', inDevice: bridge, source: podCidr } as const;
  if (dnsPort !== undefined) {
    const question = { ...ofPods, port: dnsPort, isTranslated: dnsPort !== 53 };
    const packets = (['udp', 'tcp'] as const).map((protocol) => ({ ...question, protocol }));
    found.push({ name: 'dns', what: 'names that pods here ask for', packets });
  }
  if (apiPort !== undefined) {
    const packets = [{ ...ofPods, port: apiPort, isTranslated: true }];
    found.push({ name: 'api', what: 'what pods here ask the API', packets });
  }
  if (overlay !== undefined) {
    const packet = { ...plain, hook: 'input', protocol: 'udp', port: overlay.port } as const;
    found.push({ name: 'overlay', what: 'packets of pods of other machines', packets: [packet] });
  }
  const open = (port: number): Packet => ({ ...plain, hook: 'input', port });
  if (agentPort !== undefined)
    found.push({
      name: 'agent',
      what: 'logs, commands and charts of apps here',
      packets: [open(agentPort)],
    });
  if (ingressPorts.length > 0)
    found.push({
      name: 'ingress',
      what: 'apps by their host names',
      packets: ingressPorts.map(open),
    });
  const forwarded = { ...plain, hook: 'forward', mark } as const;
  found.push({
    name: 'pods',
    what: 'what is forwarded between pods, other machines and the home',
    packets: [
      { ...forwarded, mark: 0, inDevice: bridge, source: podCidr },
      { ...forwarded, outDevice: bridge, isTranslated: true },
    ],
  });
  return found;
}

function obstacle(
  firewall: Firewall,
  chain: Chain,
  held: readonly Passage[],
  used: Used,
): Obstacle {
  const commands = new Set(held.flatMap((passage) => remedy(firewall, chain, passage, used)));
  const what = held.map((passage) => passage.what).join('; ');
  return {
    names: new Set(held.map(({ name }) => name)),
    message: `The firewall ${firewall.name} of this machine (chain ${chain.name}) drops ${what}. It is left as it is; to let them through: ${[...commands].join(' && ')} (as root, and again in its configuration, or that ends with the next start).`,
  };
}

interface Opening {
  /** Undefined: from everywhere. */
  readonly from: string | undefined;
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
}

function remedy(firewall: Firewall, chain: Chain, passage: Passage, used: Used): string[] {
  if (passage.name === 'pods') return forwardRemedies(firewall, chain.name, used);
  const openings = passage.packets.flatMap(({ inDevice, protocol, port }): Opening[] =>
    protocol === undefined || port === undefined ? [] : [{ from: inDevice, protocol, port }],
  );
  return openings.map((opening) => inputRemedy(firewall, chain.name, opening));
}

function inputRemedy(
  { program, name }: Firewall,
  chain: string,
  { from, protocol, port }: Opening,
): string {
  switch (program) {
    case 'ufw':
      return from === undefined
        ? `ufw allow ${port}/${protocol}`
        : `ufw allow in on ${from} to any port ${port} proto ${protocol}`;
    case 'iptables':
      return `iptables -I ${chain}${from === undefined ? '' : ` -i ${from}`} -p ${protocol} --dport ${port} -j ACCEPT`;
    case 'firewalld':
      // Docker's zone lets everything in: where it has put the bridge, as a rule.
      return from === undefined
        ? `firewall-cmd --add-port=${port}/${protocol}`
        : `firewall-cmd --zone=docker --change-interface=${from}`;
    case 'nft':
      return nft(name, chain, [
        ...(from === undefined ? [] : [`iifname "${from}"`]),
        `${protocol} dport ${port}`,
      ]);
  }
}

/** Both ways; what Services lead on to another machine goes by no device of ours. */
function forwardRemedies({ program, name }: Firewall, chain: string, used: Used): string[] {
  const devices = [used.bridge, ...(used.overlay === undefined ? [] : [used.overlay.device])];
  const ways = ['in', 'out'] as const;
  const each = (text: (way: 'in' | 'out', device: string) => string): string[] =>
    devices.flatMap((device) => ways.map((way) => text(way, device)));
  switch (program) {
    case 'ufw':
      return each((way, device) => `ufw route allow ${way} on ${device}`);
    case 'iptables':
      return [
        ...each(
          (way, device) => `iptables -I ${chain} -${way === 'in' ? 'i' : 'o'} ${device} -j ACCEPT`,
        ),
        `iptables -I ${chain} -m conntrack --ctstate DNAT -j ACCEPT`,
      ];
    case 'firewalld':
      return devices.map((device) => `firewall-cmd --zone=docker --change-interface=${device}`);
    case 'nft':
      return [
        ...each((way, device) =>
          nft(name, chain, [`${way === 'in' ? 'i' : 'o'}ifname "${device}"`]),
        ),
        nft(name, chain, ['ct status dnat']),
      ];
  }
}

function nft(table: string, chain: string, conditions: readonly string[]): string {
  return `nft 'insert rule ${table} ${chain} ${conditions.join(' ')} accept'`;
}
