// Firewalls as people have them, in the words of iptables, ufw, nft and firewalld.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { FirewallWatch } from './firewall-watch.ts';
import { readFirewalls } from './firewalls.ts';
import { readIptables } from './iptables-reader.ts';
import { readNftTable } from './nft-reader.ts';
import type { Firewall } from './packets.ts';
import { obstacles, type Used } from './passages.ts';

const used: Used = {
  bridge: 'flt-1',
  podCidr: '10.244.1.0/24',
  dnsPort: 10_053,
  apiPort: undefined,
  overlay: { device: 'flv-1', port: 8472 },
  agentPort: 10_250,
  ingressPorts: [80],
  mark: 0x02_10_00_00,
};

function held(firewall: Firewall, more: Partial<Used> = {}): string[] {
  return obstacles([firewall], { ...used, ...more }).flatMap(({ names }) => [...names]);
}

const established = '-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT';
const all = ['dns', 'overlay', 'agent', 'ingress'];

describe('iptables', () => {
  const cases: readonly [title: string, lines: readonly string[], names: readonly string[]][] = [
    ['lets all in', ['-P INPUT ACCEPT', '-P FORWARD ACCEPT'], []],
    ['has a policy of DROP', ['-P INPUT DROP', '-A INPUT -i lo -j ACCEPT', established], all],
    [
      'rejects in the end',
      ['-P INPUT ACCEPT', established, '-A INPUT -j REJECT --reject-with icmp-port-unreachable'],
      all,
    ],
    [
      'lets each port in',
      [
        '-P INPUT DROP',
        '-A INPUT -p udp -m udp --dport 8472 -m comment --comment "pods \\"of\\" others" -j ACCEPT',
        '-A INPUT -p tcp -m multiport --dports 22,80,10000:10300 -j ACCEPT',
        '-A INPUT -i flt-+ -p udp -m udp --dport 10053 -j ACCEPT',
      ],
      [],
    ],
    [
      'lets names in by UDP only',
      ['-P INPUT DROP', '-A INPUT -i flt-1 -p udp -j ACCEPT', '-A INPUT ! -i flt-1 -j ACCEPT'],
      ['dns'],
    ],
    [
      'lets in what is of the home',
      ['-P INPUT DROP', '-A INPUT -s 192.168.1.0/24 -j ACCEPT'],
      ['dns'],
    ],
    ['lets pods in', ['-P INPUT DROP', '-A INPUT -s 10.244.0.0/16 -j ACCEPT'], []],
    ['may let some in', ['-P INPUT DROP', '-A INPUT -m set --match-set friends src -j ACCEPT'], []],
    [
      'drops strangers only',
      [
        '-P INPUT ACCEPT',
        '-A INPUT -s 203.0.113.0/24 -j DROP',
        '-A INPUT -m conntrack --ctstate INVALID -j DROP',
      ],
      [],
    ],
    ['drops other ports only', ['-P INPUT ACCEPT', '-A INPUT -p tcp --dport 23 -j DROP'], []],
    [
      'drops one of ours',
      ['-P INPUT ACCEPT', '-A INPUT -p tcp -m tcp --dport 80 -j DROP'],
      ['ingress'],
    ],
    [
      'writes to the log first',
      ['-P INPUT ACCEPT', '-A INPUT -j LOG --log-prefix "in "', '-A INPUT -p udp -j DROP'],
      ['dns', 'overlay'],
    ],
    [
      'goes elsewhere and comes back',
      ['-P INPUT DROP', '-N a', '-A INPUT -j a', '-A INPUT -j ACCEPT', '-A a -p tcp -j RETURN'],
      [],
    ],
    [
      'goes elsewhere for good',
      ['-P INPUT DROP', '-N a', '-A INPUT -g a', '-A INPUT -j ACCEPT'],
      all,
    ],
    ['hands nothing on', ['-P INPUT ACCEPT', '-P FORWARD DROP'], ['pods']],
    [
      'hands on what is of the bridge',
      ['-P FORWARD DROP', '-A FORWARD -i flt-1 -j ACCEPT', '-A FORWARD -o flt-1 -j ACCEPT'],
      [],
    ],
    [
      'hands on what is translated, and what pods send',
      [
        '-P FORWARD DROP',
        '-A FORWARD -i flt-1 -j ACCEPT',
        '-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT',
      ],
      [],
    ],
  ];
  it.each(cases)('that %s', (_title, lines, names) => {
    expect(held(readIptables(lines.join('\n')))).toEqual(names);
  });

  it('is in the way of the API where pods reach it by this machine', () => {
    const lines = ['-P INPUT DROP', '-A INPUT -i flt-1 -p udp -m udp --dport 10053 -j ACCEPT'];
    const found = obstacles([readIptables(lines.join('\n'))], {
      ...used,
      apiPort: 10_443,
      overlay: undefined,
      agentPort: undefined,
      ingressPorts: [],
    });
    expect(found.map(({ message }) => / through: (.*) \(as root/.exec(message)?.[1])).toEqual([
      'iptables -I INPUT -i flt-1 -p udp --dport 10053 -j ACCEPT && iptables -I INPUT -i flt-1 -p tcp --dport 10053 -j ACCEPT && iptables -I INPUT -i flt-1 -p tcp --dport 10443 -j ACCEPT',
    ]);
  });

  it('has nothing in the way of what is not used here', () => {
    const none = { dnsPort: undefined, overlay: undefined, agentPort: undefined, ingressPorts: [] };
    expect(held(readIptables('-P INPUT DROP\n-P FORWARD ACCEPT'), none)).toEqual([]);
  });

  it('of ufw is told in its words', () => {
    const text = [
      '-P INPUT DROP',
      '-P FORWARD DROP',
      ...['ufw-before-input', 'ufw-user-input', 'ufw-not-local'].map((name) => `-N ${name}`),
      '-A INPUT -j ufw-before-input',
      '-A INPUT -j ufw-user-input',
      '-A ufw-before-input -i lo -j ACCEPT',
      '-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      '-A ufw-before-input -j ufw-not-local',
      '-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN',
      '-A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN',
      '-A ufw-not-local -m limit --limit 3/min --limit-burst 10 -j ufw-logging-deny',
      '-A ufw-not-local -j DROP',
      '-A ufw-user-input -p tcp -m tcp --dport 80 -j ACCEPT',
    ].join('\n');
    const found = obstacles([readIptables(text)], { ...used, overlay: undefined });
    expect(found.map(({ message }) => message)).toEqual([
      'The firewall ufw of this machine (chain INPUT) drops names that pods here ask for; logs, commands and charts of apps here. It is left as it is; to let them through: ufw allow in on flt-1 to any port 10053 proto udp && ufw allow in on flt-1 to any port 10053 proto tcp && ufw allow 10250/tcp (as root, and again in its configuration, or that ends with the next start).',
      'The firewall ufw of this machine (chain FORWARD) drops what is forwarded between pods, other machines and the home. It is left as it is; to let them through: ufw route allow in on flt-1 && ufw route allow out on flt-1 (as root, and again in its configuration, or that ends with the next start).',
    ]);
  });
});

const filter = { family: 'inet', table: 'filter' };
const match = (left: object, right: unknown, op = '==') => ({ match: { op, left, right } });
const meta = (key: string) => ({ meta: { key } });
const accept = { accept: null };
const counter = { counter: { packets: 0, bytes: 0 } };

function nftTable(
  hook: 'input' | 'forward',
  policy: string,
  rules: readonly (readonly object[])[],
  more: Readonly<Record<string, readonly (readonly object[])[]>> = {},
): Firewall {
  const nftables = [
    { chain: { ...filter, name: hook, hook, policy } },
    ...Object.keys(more).map((name) => ({ chain: { ...filter, name } })),
    ...Object.entries({ [hook]: rules, ...more }).flatMap(([chain, own]) =>
      own.map((expr) => ({ rule: { chain, expr } })),
    ),
  ];
  return readNftTable({ nftables }, 'inet', 'filter');
}

describe('nft', () => {
  const isKnown = match({ ct: { key: 'state' } }, ['established', 'related'], 'in');
  const isTranslated = match({ ct: { key: 'status' } }, 'dnat', 'in');
  const masked = { '&': [meta('mark'), 0x10_00_00] };
  const port = (protocol: string, right: unknown) =>
    match({ payload: { protocol, field: 'dport' } }, right);
  const state = (verdicts: readonly (readonly [string, object])[]) => ({
    vmap: { key: { ct: { key: 'state' } }, data: { set: verdicts } },
  });
  const cases: readonly [title: string, firewall: Firewall, names: readonly string[]][] = [
    ['lets known connections in', nftTable('input', 'drop', [[isKnown, counter, accept]]), all],
    [
      'looks states up',
      nftTable('input', 'drop', [
        [
          state([
            ['established', accept],
            ['invalid', { drop: null }],
          ]),
        ],
      ]),
      all,
    ],
    [
      'looks new ones up',
      nftTable('input', 'drop', [[state([['new', { jump: { target: 'in' } }]])]], {
        in: [[port('tcp', { set: [80, { range: [10_000, 10_300] }] }), accept]],
      }),
      ['dns', 'overlay'],
    ],
    [
      'lets ports in, from whatever is in a set',
      nftTable('input', 'drop', [
        [match({ payload: { protocol: 'ip', field: 'saddr' } }, '@friends'), accept],
      ]),
      [],
    ],
    [
      'lets the bridge in',
      nftTable('input', 'drop', [[match(meta('iifname'), { set: ['eth9', 'flt-*'] }), accept]]),
      // What comes by eth9 is not known.
      [],
    ],
    ['lets IPv6 in', nftTable('input', 'drop', [[match(meta('nfproto'), 'ipv6'), accept]]), all],
    ['hands nothing on', nftTable('forward', 'drop', [[isKnown, accept]]), ['pods']],
    [
      'hands on what bears our mark',
      nftTable('forward', 'drop', [
        [match(masked, 0, '!='), accept],
        [match(meta('iifname'), 'flt-1'), accept],
      ]),
      [],
    ],
    [
      'hands on what is translated, as firewalld',
      nftTable('forward', 'accept', [
        [isTranslated, accept],
        [match(meta('iifname'), 'flt-1'), accept],
        [{ reject: { type: 'icmpx', expr: 'admin-prohibited' } }],
      ]),
      [],
    ],
    [
      'drops some of it',
      nftTable('forward', 'accept', [[match(meta('oifname'), 'virbr0'), { drop: null }]]),
      [],
    ],
  ];
  it.each(cases)('that %s', (_title, firewall, names) => {
    expect(held(firewall)).toEqual(names);
  });

  it('is told with all that has to pass, the overlay and what is led to other machines, too', () => {
    const [found] = obstacles([nftTable('forward', 'drop', [])], used);
    const rules = /let them through: (.*) \(as root/.exec(found?.message ?? '')?.[1]?.split(' && ');
    const insert = (text: string) => `nft 'insert rule inet filter forward ${text} accept'`;
    expect(rules).toEqual([
      ...['iifname "flt-1"', 'oifname "flt-1"', 'iifname "flv-1"', 'oifname "flv-1"'].map(insert),
      insert('ct status dnat'),
    ]);
  });
});

describe('readFirewalls', () => {
  const chain = (family: string, table: string, name: string, hook?: string) => ({
    chain: { family, table, name, ...(hook && { hook, policy: 'drop' }) },
  });

  it('reads each once, and neither tables of clusters nor what Docker forwards', async () => {
    const listed = [
      chain('ip', 'filter', 'INPUT', 'input'),
      chain('inet', 'fw', 'forward', 'forward'),
      chain('inet', 'fw', 'input', 'input'),
      chain('ip', 'flotilla_2', 'forward', 'forward'),
      chain('bridge', 'b', 'forward', 'forward'),
    ];
    const asked: string[] = [];
    const run = (command: string, args: readonly string[]) => {
      asked.push([command, ...args].join(' '));
      const isChains = args.includes('chains');
      const nftables = isChains ? listed : listed.slice(1, 3);
      const text = '-P INPUT DROP\n-P FORWARD DROP\n-N DOCKER-USER';
      const stdout = command === 'iptables' ? text : JSON.stringify({ nftables });
      return Promise.resolve({ exitCode: 0, stdout, stderr: '' });
    };
    const found = await readFirewalls({ run });
    const told = obstacles(found, used).map(({ message }) => message.split(' drops ')[0]);
    expect([asked, told]).toEqual([
      [
        'iptables --wait --list-rules',
        'nft --json list chains',
        'nft --json --terse list table inet fw',
      ],
      [
        'The firewall iptables of this machine (chain INPUT)',
        'The firewall inet fw of this machine (chain forward)',
        'The firewall inet fw of this machine (chain input)',
      ],
    ]);
  });
});

describe('FirewallWatch', () => {
  it('tells of a firewall that comes, and that it went, soon after; of a thousand changes once', async () => {
    const clock = new ManualClock();
    let text = '-P INPUT ACCEPT';
    let now: Used = used;
    let looks = 0;
    let changes = 0;
    const ending = new AbortController();
    const watch = new FirewallWatch({
      read: () => {
        looks++;
        return Promise.resolve([readIptables(text)]);
      },
      follow: () => new Promise(() => {}),
      used: () => now,
      clock,
      logger: silentLogger,
      onChange: () => changes++,
      signal: ending.signal,
    });
    const told: unknown[] = [];
    async function pass(ms: number): Promise<void> {
      clock.advance(ms);
      await new Promise((done) => setImmediate(done));
      told.push([watch.verdict()?.status, looks, changes]);
    }
    watch.start();
    await pass(0);
    text = '-P INPUT DROP';
    for (let i = 0; i < 1000; i++) watch.trigger();
    await pass(4_900);
    await pass(100);
    text = '-P INPUT ACCEPT';
    await pass(29_000);
    await pass(1_000);
    text = '-P INPUT DROP';
    await pass(300_000);
    now = { ...used, ingressPorts: [80, 443] };
    watch.judge();
    await pass(0);
    ending.abort();
    await pass(900_000);
    expect(told).toEqual([
      ['False', 1, 1],
      ['False', 1, 1],
      ['True', 2, 2],
      ['True', 2, 2],
      ['False', 3, 3],
      ['True', 4, 4],
      ['True', 4, 5],
      ['True', 4, 5],
    ]);
    expect(await watch.holdsBack('ingress')).toContain('iptables -I INPUT -p tcp --dport 443');
  });
});
