import { describe, expect, it } from 'vitest';
import { parseEntries } from './conntrack.ts';
import { firewallProblems, type NftListing } from './firewalls.ts';
import { rememberedClients } from './nft-applier.ts';

const bridge = 'flt-1';
const established = {
  match: { op: 'in', left: { ct: { key: 'state' } }, right: ['established', 'related'] },
};
const counter = { counter: { packets: 0, bytes: 0 } };
const accept = { accept: null };
const isMarked = {
  match: { op: '!=', left: { '&': [{ meta: { key: 'mark' } }, 1_048_576] }, right: 0 },
};
const toBridge = { match: { op: '==', left: { meta: { key: 'oifname' } }, right: bridge } };
const isTranslated = { match: { op: 'in', left: { ct: { key: 'status' } }, right: 'dnat' } };

interface Case {
  readonly title: string;
  readonly table?: string;
  readonly policy?: string;
  readonly others?: readonly string[];
  readonly rules?: readonly (readonly unknown[])[];
  readonly isNamed: boolean;
}

describe('firewallProblems', () => {
  const cases: Case[] = [
    { title: 'a policy of drop', rules: [[established, accept]], isNamed: true },
    {
      title: 'a last rule that rejects',
      policy: 'accept',
      rules: [[counter, { reject: {} }]],
      isNamed: true,
    },
    { title: 'one that lets everything through', policy: 'accept', isNamed: false },
    {
      title: 'one that drops some',
      policy: 'accept',
      rules: [[toBridge, { drop: null }]],
      isNamed: false,
    },
    {
      title: 'one that lets our bridge through',
      rules: [[toBridge, counter, accept]],
      isNamed: false,
    },
    { title: 'one that lets our mark through', rules: [[isMarked, accept]], isNamed: false },
    {
      title: 'firewalld, which lets through what is translated',
      table: 'firewalld',
      policy: 'accept',
      rules: [[isTranslated, accept], [{ reject: { type: 'icmpx', expr: 'admin-prohibited' } }]],
      isNamed: false,
    },
    { title: "Docker's own", others: ['DOCKER-USER'], isNamed: false },
    { title: 'one of another cluster', table: 'flotilla_2', isNamed: false },
  ];
  it.each(cases)('for $title: $isNamed', async (given) => {
    const { table = 'filter', policy = 'drop', others = [], rules = [] } = given;
    const base = { family: 'inet', table };
    const chains: NftListing = {
      nftables: [
        { chain: { ...base, name: 'forward', hook: 'forward', policy } },
        { chain: { ...base, name: 'input', hook: 'input', policy: 'drop' } },
        ...others.map((name) => ({ chain: { ...base, name } })),
      ],
    };
    const nftables = rules.map((expr) => ({ rule: { chain: 'forward', expr } }));
    const rulesOf = () => Promise.resolve({ nftables });
    const problems = await firewallProblems({ chains, rulesOf, bridge });
    const [problem] = problems;
    expect([problems.length, problem?.message.includes(`inet ${table}`) ?? false]).toEqual(
      given.isNamed ? [1, true] : [0, false],
    );
  });

  it('says it in the words of ufw where ufw is', async () => {
    const base = { family: 'ip', table: 'filter' };
    const chains: NftListing = {
      nftables: [
        { chain: { ...base, name: 'FORWARD', hook: 'forward', policy: 'drop' } },
        { chain: { ...base, name: 'ufw-before-forward' } },
      ],
    };
    const rulesOf = () => Promise.resolve({ nftables: [] });
    const [problem] = await firewallProblems({ chains, rulesOf, bridge });
    expect(problem?.message).toContain('ufw route allow in on flt-1');
  });
});

describe('parseEntries', () => {
  it('reads who sends where and who answers, each once', () => {
    const text = `udp      17 29 src=10.0.0.2 dst=10.96.0.10 sport=5000 dport=53 [UNREPLIED] src=10.244.0.3 dst=10.0.0.2 sport=5353 dport=5000 mark=0 use=1
udp      17 100 src=10.0.0.2 dst=10.96.0.10 sport=5001 dport=53 src=10.244.0.3 dst=10.0.0.2 sport=5353 dport=5001 [ASSURED] use=1
conntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown.`;
    expect(parseEntries(text)).toEqual([
      { address: '10.96.0.10', port: 53, endpoint: '10.244.0.3' },
    ]);
  });
});

describe('rememberedClients', () => {
  it('reads whom the sets of a table know, and for how long yet', () => {
    const elem = [{ elem: { val: '10.0.0.2', timeout: 60, expires: 41 } }];
    const nftables = [
      { metainfo: {} },
      { set: { name: 'of-a', elem } },
      { set: { name: 'hairpin', elem: [{ concat: ['10.0.0.1', '10.0.0.1'] }] } },
      { set: { name: 'empty' } },
      { chain: {} },
    ];
    expect(rememberedClients(JSON.stringify({ nftables }))).toEqual([
      { set: 'of-a', address: '10.0.0.2', expiresSeconds: 41 },
    ]);
  });
});
