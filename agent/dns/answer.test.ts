// The examples of Kubernetes' DNS specification 1.1.0, and what CoreDNS answers beyond it.
import { describe, expect, it } from 'vitest';
import { answer, rotated, type ZoneState } from './answer.ts';
import { Forwarder } from './upstream/forwarder.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { Resolver } from './resolver.ts';
import { Zone } from './zone.ts';
import { ask, service, slice, told, zoneOf } from '../../test/setup/dns-messages.ts';

const https = { name: 'https', port: 443, protocol: 'TCP' };
const ready = { ready: true };

const zone = zoneOf(
  [
    service('default/kubernetes', {
      clusterIP: '10.3.0.1',
      clusterIPs: ['10.3.0.1'],
      ports: [https, { port: 80 }],
    }),
    service('default/headless', { clusterIP: 'None', clusterIPs: ['None'], ports: [https] }),
    service('default/portless', { clusterIP: 'None', clusterIPs: ['None'] }),
    service('default/empty', { clusterIP: 'None', clusterIPs: ['None'], ports: [https] }),
    service('default/foo', { type: 'ExternalName', externalName: 'WWW.Example.com.' }),
    service('default/inside', {
      type: 'ExternalName',
      externalName: 'kubernetes.default.svc.cluster.local',
    }),
    service('default/ping', {
      type: 'ExternalName',
      externalName: 'pong.default.svc.cluster.local',
    }),
    service('default/pong', {
      type: 'ExternalName',
      externalName: 'ping.default.svc.cluster.local',
    }),
    service('v6/dual', {
      clusterIPs: ['10.3.0.6', '1234:abcd::1'],
      ports: [{ name: 'dns', port: 53, protocol: 'UDP' }],
    }),
    service('kube-system/kube-dns', { clusterIPs: ['10.96.0.10'], ports: [] }),
  ],
  [
    slice('default/headless', 'IPv4', {
      ports: [https],
      endpoints: [
        { addresses: ['10.3.0.100'], hostname: 'my-pet', conditions: ready },
        { addresses: ['10.3.0.101'], hostname: 'my-pet-2', conditions: ready },
        { addresses: ['10.3.0.102'] },
        { addresses: ['10.3.0.103'], hostname: 'not-ready', conditions: { ready: false } },
      ],
    }),
    slice('default/headless', 'IPv6', {
      ports: [https],
      endpoints: [{ addresses: ['5678:abcd::2'], conditions: ready }],
    }),
    slice('default/portless', 'IPv4', { endpoints: [{ addresses: ['10.3.0.9'] }], ports: [] }),
    slice('default/empty', 'IPv4', { endpoints: [], ports: [] }),
    slice('default/kubernetes', 'IPv4', {
      ports: [https],
      endpoints: [{ addresses: ['192.168.1.5'] }],
    }),
  ],
);
const state: ZoneState = {
  zone,
  ownRanges: ['10.3.0.0/16', '10.244.1.0/24'],
  serverAddress: '10.96.0.10',
};
const clock = new ManualClock();
const resolver = new Resolver({
  state: () => state,
  forwarder: new Forwarder({
    exchange: () => Promise.reject(new Error('nobody is to be asked')),
    servers: () => [],
    clock,
    logger: silentLogger,
  }),
  logger: silentLogger,
});

function answered(name: string, type: string) {
  const reply = resolver.respond(ask(name, type, { ednsBytes: 1232 }), 'udp');
  if (!Buffer.isBuffer(reply)) throw new Error(`${name} is not answered here`);
  const { rcode, answers, authorities, additionals } = told(reply);
  return { rcode, answers: answers.toSorted(), authorities, additionals };
}

const svc = 'svc.cluster.local';
const soa = `cluster.local 5 SOA ns.dns.cluster.local hostmaster.cluster.local 1700000000 7200 1800 86400 5`;

describe('records', () => {
  const cases: readonly [name: string, type: string, answers: string[], additionals?: string[]][] =
    [
      ['dns-version.cluster.local', 'TXT', ['dns-version.cluster.local 28800 TXT 1.1.0']],
      [`kubernetes.default.${svc}`, 'A', [`kubernetes.default.${svc} 5 A 10.3.0.1`]],
      [
        `_https._tcp.kubernetes.default.${svc}`,
        'SRV',
        [`_https._tcp.kubernetes.default.${svc} 5 SRV 0 100 443 kubernetes.default.${svc}`],
        [`kubernetes.default.${svc} 5 A 10.3.0.1`],
      ],
      [
        `kubernetes.default.${svc}`,
        'SRV',
        [
          `kubernetes.default.${svc} 5 SRV 0 50 443 kubernetes.default.${svc}`,
          `kubernetes.default.${svc} 5 SRV 0 50 80 kubernetes.default.${svc}`,
        ],
        [`kubernetes.default.${svc} 5 A 10.3.0.1`],
      ],
      ['1.0.3.10.in-addr.arpa', 'PTR', [`1.0.3.10.in-addr.arpa 5 PTR kubernetes.default.${svc}`]],
      [
        `headless.default.${svc}`,
        'A',
        ['100', '101', '102'].map((last) => `headless.default.${svc} 5 A 10.3.0.${last}`),
      ],
      [`headless.default.${svc}`, 'AAAA', [`headless.default.${svc} 5 AAAA 5678:abcd::2`]],
      [`my-pet.headless.default.${svc}`, 'A', [`my-pet.headless.default.${svc} 5 A 10.3.0.100`]],
      [
        `10-3-0-102.headless.default.${svc}`,
        'A',
        [`10-3-0-102.headless.default.${svc} 5 A 10.3.0.102`],
      ],
      [
        `_https._tcp.headless.default.${svc}`,
        'SRV',
        ['10-3-0-102', '5678-abcd--2', 'my-pet-2', 'my-pet'].map(
          (host) =>
            `_https._tcp.headless.default.${svc} 5 SRV 0 25 443 ${host}.headless.default.${svc}`,
        ),
        [
          `my-pet.headless.default.${svc} 5 A 10.3.0.100`,
          `my-pet-2.headless.default.${svc} 5 A 10.3.0.101`,
          `10-3-0-102.headless.default.${svc} 5 A 10.3.0.102`,
          `5678-abcd--2.headless.default.${svc} 5 AAAA 5678:abcd::2`,
        ],
      ],
      [
        '100.0.3.10.in-addr.arpa',
        'PTR',
        [`100.0.3.10.in-addr.arpa 5 PTR my-pet.headless.default.${svc}`],
      ],
      // Outside of our ranges, but known: a pod on the machine's network.
      [
        '5.1.168.192.in-addr.arpa',
        'PTR',
        [`5.1.168.192.in-addr.arpa 5 PTR 192-168-1-5.kubernetes.default.${svc}`],
      ],
      [
        `${'2.0.0.0.'.padEnd(48, '0.')}d.c.b.a.8.7.6.5.ip6.arpa`,
        'PTR',
        [
          `${'2.0.0.0.'.padEnd(48, '0.')}d.c.b.a.8.7.6.5.ip6.arpa 5 PTR 5678-abcd--2.headless.default.${svc}`,
        ],
      ],
      [`foo.default.${svc}`, 'CNAME', [`foo.default.${svc} 5 CNAME www.example.com`]],
      [
        `inside.default.${svc}`,
        'A',
        [
          `inside.default.${svc} 5 CNAME kubernetes.default.${svc}`,
          `kubernetes.default.${svc} 5 A 10.3.0.1`,
        ],
      ],
      [`10-1-2-3.any.pod.cluster.local`, 'A', [`10-1-2-3.any.pod.cluster.local 5 A 10.1.2.3`]],
      [`dual.v6.${svc}`, 'A', [`dual.v6.${svc} 5 A 10.3.0.6`]],
      [`dual.v6.${svc}`, 'AAAA', [`dual.v6.${svc} 5 AAAA 1234:abcd::1`]],
      [`portless.default.${svc}`, 'A', [`portless.default.${svc} 5 A 10.3.0.9`]],
      ['ns.dns.cluster.local', 'A', ['ns.dns.cluster.local 5 A 10.96.0.10']],
      ['cluster.local', 'SOA', [soa]],
      [
        'cluster.local',
        'NS',
        ['cluster.local 5 NS ns.dns.cluster.local'],
        ['ns.dns.cluster.local 5 A 10.96.0.10'],
      ],
    ];
  it.each(cases)('of %s %s', (name, type, answers, additionals = []) => {
    const want = { rcode: 'NOERROR', answers, authorities: [], additionals };
    expect(answered(name, type)).toEqual(want);
  });

  it('are found whatever the case, which is kept', () => {
    const asked = `KuberneTes.DEFAULT.sVc.cluster.LOCAL`;
    expect(answered(asked, 'A').answers).toEqual([`${asked} 5 A 10.3.0.1`]);
  });
});

describe('no records', () => {
  const exists = [
    'cluster.local',
    svc,
    `default.${svc}`,
    'pod.cluster.local',
    'any.pod.cluster.local',
    'dns.cluster.local',
    `kubernetes.default.${svc}`,
    `_tcp.kubernetes.default.${svc}`,
    `_https._tcp.kubernetes.default.${svc}`,
    `my-pet.headless.default.${svc}`,
    '10-1-2-3.any.pod.cluster.local',
    'dns-version.cluster.local',
  ];
  it.each(exists)('of this type: %s', (name) => {
    const want = { rcode: 'NOERROR', answers: [], authorities: [soa], additionals: [] };
    expect(answered(name, 'MX')).toEqual(want);
  });

  it('of a headless Service without ports: it is there all the same', () => {
    expect(answered(`portless.default.${svc}`, 'SRV').rcode).toBe('NOERROR');
  });

  const unknown = [
    'nothing.cluster.local',
    `no-namespace.${svc}`,
    `no-service.default.${svc}`,
    `empty.default.${svc}`,
    `not-ready.headless.default.${svc}`,
    `_http._tcp.kubernetes.default.${svc}`,
    `_https._udp.kubernetes.default.${svc}`,
    `_udp.kubernetes.default.${svc}`,
    `a.b.c.kubernetes.default.${svc}`,
    `a.kubernetes.default.${svc}`,
    `a.foo.default.${svc}`,
    `a.my-pet.headless.default.${svc}`,
    'www.example.com.default.svc.cluster.local',
    'www.example.com.svc.cluster.local',
    'www.example.com.cluster.local',
    'not-an-ip.default.pod.cluster.local',
    '10-1-2-300.default.pod.cluster.local',
    'a.10-1-2-3.default.pod.cluster.local',
    'x.dns.cluster.local',
  ];
  it.each(unknown)('by this name: %s', (name) => {
    const want = { rcode: 'NXDOMAIN', answers: [], authorities: [soa], additionals: [] };
    expect(answered(name, 'A')).toEqual(want);
  });

  it('by an address of our ranges that nobody has', () => {
    const { rcode, authorities } = answered('7.0.3.10.in-addr.arpa', 'PTR');
    expect([rcode, authorities[0]?.split(' ')[0]]).toEqual(['NXDOMAIN', '3.10.in-addr.arpa']);
    expect(answered('7.1.244.10.in-addr.arpa', 'PTR').rcode).toBe('NXDOMAIN');
  });

  it('of a chain that leads nowhere', () => {
    expect(answered(`ping.default.${svc}`, 'A').rcode).toBe('SERVFAIL');
  });
});

describe('what is not ours', () => {
  const type = 1;
  it.each(['example.com', 'local', 'xcluster.local', '7.0.168.192.in-addr.arpa', ''])(
    '%s',
    (name) => {
      expect(answer({ name, type }, state)).toEqual({ kind: 'foreign' });
    },
  );

  it('is where a Service stands for a name elsewhere', () => {
    const name = `foo.default.${svc}`;
    expect(answer({ name, type }, state)).toEqual({
      kind: 'follow',
      chain: [{ name, ttl: 5, type: 'CNAME', target: 'www.example.com' }],
      target: 'www.example.com',
    });
  });
});

it('claims to know of no name before anything was heard of the cluster', () => {
  const unknown = { ...state, zone: new Zone(() => 0) };
  for (const name of [`kubernetes.default.${svc}`, '1.0.3.10.in-addr.arpa'])
    expect(answer({ name, type: 1 }, unknown)).toMatchObject({ reply: { rcode: 2 } });
});

it('begins with another address each turn, after the names that lead to them', () => {
  const name = 'x';
  const address = (last: string) => ({ name, ttl: 5, type: 'A', address: last }) as const;
  const cname = { name: 'y', ttl: 5, type: 'CNAME', target: name } as const;
  const reply = {
    rcode: 0,
    isAuthoritative: true,
    answers: [cname, address('1'), address('2'), address('3')],
    authorities: [],
    additionals: [],
  };
  const order = (turn: number) =>
    rotated(reply, turn).answers.map((each) => (each.type === 'A' ? each.address : each.name));
  expect([0, 1, 2, 3].map(order)).toEqual([
    ['y', '1', '2', '3'],
    ['y', '2', '3', '1'],
    ['y', '3', '1', '2'],
    ['y', '1', '2', '3'],
  ]);
});
