// The pure parts of the search: what is read out of what others say, and what becomes of it.
import { describe, expect, it } from 'vitest';
import type { Machine } from '#kube/api/fleet.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { parseIpv4Network } from '#kube/machinery/ipv4.ts';
import { addable, type SshAnswer } from './addable.ts';
import { hears, searching } from './hearing.ts';
import { planMachines, type PlanInput } from './machine-plan.ts';
import { readAnswers, reverseName } from './probes/multicast-answers.ts';
import { parseLinux, parseMac, parseWindows } from './probes/neighbour-table.ts';
import { isCandidate, seenMachines, type SeenMachine } from './seen-machines.ts';
import { SightingBook, type Sighting } from './sighting.ts';
import { SshAnswers } from './ssh-answers.ts';
import { readGreeting } from './ssh-greeting.ts';
import { sweepAddresses } from './sweep.ts';
import { vendorOf } from './vendors.ts';

const link = { name: 'lan', network: parseIpv4Network('10.77.0.0/24')! };

const [ours, theirs] = [
  '6b1c2a3d-0000-4000-8000-000000000001',
  '6b1c2a3d-0000-4000-8000-000000000002',
];

function sighting(address: string, more: Partial<Sighting> = {}): Sighting {
  return { by: 'MulticastDNS', address, interface: 'lan', ...more };
}

describe('multicast answers', () => {
  it('tell of names, of addresses by name, and of services; not of other networks', () => {
    const records = [
      { name: 'RaspberryPi.local', type: 'A', ttl: 120, data: '10.77.0.11' },
      { name: '11.0.77.10.in-addr.arpa', type: 'PTR', ttl: 120, data: 'raspberrypi.local' },
      { name: '_ssh._tcp.local', type: 'PTR', ttl: 4500, data: 'pi._ssh._tcp.local' },
      { name: 'far.local', type: 'A', ttl: 120, data: '192.168.9.9' },
      { name: 'two.labels.local', type: 'A', ttl: 120, data: '10.77.0.12' },
      { name: 'pi.local', type: 'TXT', ttl: 120, data: [] },
      { name: 'pi.local', type: 'A', ttl: 120, data: { not: 'text' } },
    ];
    expect(readAnswers(records, '10.77.0.11', link)).toEqual([
      { sighting: sighting('10.77.0.11', { hostName: 'raspberrypi' }), forMs: 1_500_000 },
      { sighting: sighting('10.77.0.11', { hostName: 'raspberrypi' }), forMs: 1_500_000 },
      { sighting: sighting('10.77.0.11', { service: '_ssh._tcp' }), forMs: 4_500_000 },
    ]);
  });

  it('tell of what agents say to belong to, if it is well-formed, and of who says it', () => {
    const said = (name: string, ...texts: readonly string[]) =>
      readAnswers(
        [{ name, type: 'TXT', ttl: 4500, data: texts.map((text) => Buffer.from(text)) }],
        '10.77.0.11',
        link,
      ).map((heard) => heard.sighting.member);
    const [name, cluster] = ['attic-1._flotilla._tcp.local', `cluster=${theirs}`];
    const member = { clusterId: theirs, nodeName: 'attic' };
    expect(said(name, 'version=1', cluster, 'node=attic')).toEqual([member]);
    expect(said(name, cluster, 'node=../attic')).toEqual([]);
    expect(said(name, 'cluster=home', 'node=attic')).toEqual([]);
    expect(said('attic._http._tcp.local', cluster, 'node=attic')).toEqual([]);
  });

  it('hold from 25 minutes to an hour and a quarter, and not at all after a goodbye', () => {
    const heard = (ttl: number) =>
      readAnswers([{ name: 'pi.local', type: 'A', ttl, data: '10.77.0.2' }], '', link)[0]?.forMs;
    expect([heard(1e9), heard(120), heard(0)]).toEqual([4_500_000, 1_500_000, 0]);
  });

  it('of a flood only the first two hundred records count', () => {
    const flood = Array.from({ length: 1000 }, (_, index) => ({
      name: `x${index}.local`,
      type: 'A',
      ttl: 9,
      data: '10.77.0.9',
    }));
    expect(readAnswers(flood, '', link)).toHaveLength(200);
  });

  it('are asked for by the address turned round', () => {
    expect(reverseName('10.77.0.11')).toBe('11.0.77.10.in-addr.arpa');
  });
});

describe('neighbour tables', () => {
  it('of Linux: only who answered', () => {
    const text = `IP address       HW type     Flags       HW address            Mask     Device
10.77.0.11       0x1         0x2         b8:27:eb:00:00:11     *        lan
10.77.0.12       0x1         0x0         00:00:00:00:00:00     *        lan
10.77.0.255      0x1         0x2         ff:ff:ff:ff:ff:ff     *        lan
`;
    expect(parseLinux(text)).toEqual([
      { address: '10.77.0.11', hardwareAddress: 'b8:27:eb:00:00:11', interface: 'lan' },
    ]);
  });

  it('of macOS, which leaves zeros out', () => {
    const text = `? (192.168.1.20) at b8:27:eb:1:2:3 on en0 ifscope [ethernet]
? (192.168.1.21) at (incomplete) on en0 ifscope [ethernet]
? (224.0.0.251) at 1:0:5e:0:0:fb on en0 ifscope permanent [ethernet]
`;
    expect(parseMac(text)).toEqual([
      { address: '192.168.1.20', hardwareAddress: 'b8:27:eb:01:02:03', interface: 'en0' },
    ]);
  });

  it('of Windows, in any language', () => {
    const text = `
Schnittstelle: 192.168.1.5 --- 0x4
  Internetadresse       Physische Adresse     Typ
  192.168.1.20          b8-27-eb-01-02-03     dynamisch
  192.168.1.255         ff-ff-ff-ff-ff-ff     statisch
`;
    expect(parseWindows(text)).toEqual([
      { address: '192.168.1.20', hardwareAddress: 'b8:27:eb:01:02:03', interface: '192.168.1.5' },
    ]);
  });
});

describe('SSH greetings', () => {
  const rows: readonly [string, string | undefined, string | undefined][] = [
    ['SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n', 'OpenSSH_9.2p1 Debian-2+deb12u3', 'Debian 12'],
    [
      'SSH-2.0-OpenSSH_8.4p1 Raspbian-5+deb11u1',
      'OpenSSH_8.4p1 Raspbian-5+deb11u1',
      'Raspberry Pi OS',
    ],
    [
      'SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.5',
      'OpenSSH_9.6p1 Ubuntu-3ubuntu13.5',
      'Ubuntu 24.04',
    ],
    ['SSH-2.0-OpenSSH_9.9p1 Ubuntu-1', 'OpenSSH_9.9p1 Ubuntu-1', 'Ubuntu'],
    ['SSH-2.0-OpenSSH_for_Windows_9.5', 'OpenSSH_for_Windows_9.5', 'Windows'],
    ['SSH-2.0-dropbear_2022.83', 'dropbear_2022.83', 'a small system (Dropbear)'],
    ['SSH-1.99-OpenSSH_9.0', 'OpenSSH_9.0', undefined],
    ['SSH-1.5-old', undefined, undefined],
    ['HTTP/1.1 400 Bad Request', undefined, undefined],
    ['SSH-2.0-\u0007bell', undefined, undefined],
  ];
  it.each(rows)('%j', (line, software, operatingSystem) => {
    const greeting = readGreeting(line);
    expect([greeting?.software, greeting?.operatingSystem]).toEqual([software, operatingSystem]);
  });
});

describe('the book of sightings', () => {
  it('keeps each until it expires, tells what is news, and forgets at a goodbye', () => {
    const book = new SightingBook();
    const [pi, ssh] = [
      sighting('10.77.0.11', { hostName: 'pi' }),
      sighting('10.77.0.11', { service: '_ssh._tcp' }),
    ];
    expect([book.note(pi, 0, 100), book.note(pi, 50, 100), book.note(ssh, 0, 100)]).toEqual([
      true,
      false,
      true,
    ]);
    expect(book.current(120)).toEqual([pi]);
    expect(book.note(pi, 130, 0)).toBe(true);
    expect(book.current(130)).toEqual([]);
  });

  it('keeps little of one address, and of all together some thousands: a flood takes no memory', () => {
    const book = new SightingBook();
    for (let number = 0; number < 10_000; number++)
      book.note(sighting('10.77.0.9', { hostName: `x${number}` }), 0, 100);
    expect(book.current(0).length).toBe(64);
    for (let number = 0; number < 50_000; number++)
      book.note(sighting(`10.77.0.${number % 250}`, { hostName: `y${number}` }), 0, 100);
    expect(book.current(0).length).toBe(2000);
  });

  it('hears who says little in any flood: whoever says the most makes room', () => {
    const book = new SightingBook();
    for (let number = 0; number < 50_000; number++)
      book.note(sighting(`10.77.0.${number % 250}`, { hostName: `y${number}` }), 0, 100);
    const pi = sighting('10.77.0.251', { hostName: 'pi' });
    expect(book.note(pi, 0, 100)).toBe(true);
    expect(book.current(0)).toContainEqual(pi);
    expect(book.current(0).length).toBe(2000);
  });
});

describe('machines out of sightings', () => {
  it('one name at two addresses is one machine, this machine is none, one card is not one machine', () => {
    const card = 'b8:27:eb:00:00:11';
    const seen = seenMachines(
      [
        sighting('10.77.0.12', { hostName: 'pi' }),
        sighting('10.77.0.11', { hostName: 'pi' }),
        sighting('10.77.0.11', { by: 'Neighbour', hardwareAddress: card }),
        sighting('10.77.0.30', { by: 'Neighbour', hardwareAddress: card }),
        sighting('10.77.0.1', { hostName: 'laptop' }),
      ],
      new Set(['10.77.0.1']),
    );
    expect(seen).toEqual([
      {
        addresses: [
          { address: '10.77.0.11', interface: 'lan', hardwareAddress: card },
          { address: '10.77.0.12', interface: 'lan' },
        ],
        hostNames: ['pi'],
        services: [],
        seenBy: ['MulticastDNS', 'Neighbour'],
        vendor: 'Raspberry Pi',
      },
      {
        addresses: [{ address: '10.77.0.30', interface: 'lan', hardwareAddress: card }],
        hostNames: [],
        services: [],
        seenBy: ['Neighbour'],
        vendor: 'Raspberry Pi',
      },
    ]);
  });

  const none: SeenMachine = {
    addresses: [{ address: '10.77.0.2' }],
    hostNames: [],
    services: [],
    seenBy: ['Neighbour'],
    vendor: undefined,
    member: undefined,
  };
  it.each([
    ['a device that says nothing of itself', none, false],
    [
      'a television',
      { ...none, hostNames: ['living-room'], services: ['_googlecast._tcp'] },
      false,
    ],
    ['a stock name', { ...none, hostNames: ['raspberrypi-2'] }, true],
    [
      'whose agent says what it belongs to',
      { ...none, member: { clusterId: theirs, nodeName: 'attic' } },
      true,
    ],
    ['a Raspberry Pi by its card', { ...none, vendor: 'Raspberry Pi' }, true],
    ['an SSH service', { ...none, services: ['_ssh._tcp'] }, true],
    ['found by a sweep', { ...none, seenBy: ['Sweep'] as const }, true],
    ['told by a person', { ...none, seenBy: ['Typed'] as const }, true],
  ])('is it a candidate: %s', (_, machine, expected) => {
    expect(isCandidate(machine)).toBe(expected);
  });

  it('vendors by the first three bytes', () => {
    expect([vendorOf('DC:A6:32:01:02:03'), vendorOf('02:00:00:00:00:01')]).toEqual([
      'Raspberry Pi',
      undefined,
    ]);
  });
});

describe('whether it can be added', () => {
  const greeting = (line: string): SshAnswer => ({
    type: 'greeting',
    greeting: readGreeting(line)!,
  });
  const unknown = { nodeName: undefined, otherCluster: undefined, isRaspberryPi: false };
  const facts = { ...unknown, address: '10.77.0.11', port: 22 };
  it.each([
    [{ ...facts, ssh: undefined }, 'Unknown', 'NotAsked', 'Nobody has asked'],
    [
      { ...facts, ssh: greeting('SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3') },
      'True',
      'SshAnswers',
      'Debian 12 answers SSH on port 22 of 10.77.0.11',
    ],
    [
      { ...facts, ssh: greeting('SSH-2.0-OpenSSH_for_Windows_9.5') },
      'False',
      'NotLinux',
      'Windows',
    ],
    [{ ...facts, ssh: { type: 'closed' } as const }, 'False', 'SshClosed', 'openssh-server'],
    [
      { ...facts, ssh: { type: 'closed' } as const, isRaspberryPi: true },
      'False',
      'SshClosed',
      'userconf.txt',
    ],
    [{ ...facts, ssh: { type: 'silent' } as const }, 'False', 'SshSilent', 'firewall'],
    [{ ...facts, ssh: { type: 'not-ssh' } as const }, 'False', 'NotSsh', 'other than an SSH'],
    [
      { ...facts, ssh: { type: 'closed' } as const, nodeName: 'pi' },
      'False',
      'InCluster',
      'node pi',
    ],
    [
      { ...facts, ssh: greeting('SSH-2.0-OpenSSH_9.2p1'), otherCluster: 'attic' },
      'False',
      'InOtherCluster',
      'the node attic of another cluster',
    ],
  ])('%j', (given, status, reason, words) => {
    const verdict = addable(given);
    expect([verdict.status, verdict.reason]).toEqual([status, reason]);
    expect(verdict.message).toContain(words);
  });
});

describe('when SSH is asked again', () => {
  it('ever more seldom while closed, every ten minutes while open, soon when it was lost', () => {
    const answers = new SshAnswers();
    const closed: SshAnswer = { type: 'closed' };
    const open: SshAnswer = { type: 'greeting', greeting: readGreeting('SSH-2.0-x')! };
    const due: number[] = [];
    let now = 0;
    for (const answer of [closed, closed, closed, open, closed, closed]) {
      answers.note('10.77.0.2', 22, answer, now);
      let wait = 0;
      while (!answers.isDue('10.77.0.2', 22, now + wait)) wait += 1000;
      due.push(wait / 1000);
      now += wait;
    }
    expect(due).toEqual([30, 60, 120, 600, 30, 60]);
    answers.keep(new Set());
    expect(answers.get('10.77.0.2', 22)).toBeUndefined();
  });
});

describe('plan of machines', () => {
  const seen: SeenMachine = {
    addresses: [{ address: '10.77.0.11', interface: 'lan', hardwareAddress: 'b8:27:eb:00:00:11' }],
    hostNames: ['pi'],
    services: [],
    seenBy: ['MulticastDNS'],
    vendor: 'Raspberry Pi',
    member: undefined,
  };
  const base: PlanInput = {
    machines: [],
    seen: [seen],
    nodeOf: () => undefined,
    isNode: (name) => name === 'pi-4',
    clusterId: ours,
    answerOf: () => undefined,
    nowMs: 1_700_000_000_000,
  };

  function made(name: string, one: SeenMachine, spec?: Machine['spec']): Machine {
    const [action] = planMachines({ ...base, seen: [one] });
    if (action?.type !== 'create') throw new Error('not created');
    return {
      apiVersion: 'flotilla.dev/v1alpha1',
      kind: 'Machine',
      metadata: { name },
      status: action.status,
      ...(spec !== undefined && { spec }),
    };
  }

  const told = (input: Partial<PlanInput>): string[] =>
    planMachines({ ...base, ...input }).map((action) =>
      action.type === 'create'
        ? `create ${action.name}`
        : `${action.type} ${action.machine.metadata.name}`,
    );

  it('what is as it was is left alone', () => {
    expect(told({ machines: [made('pi', seen)] })).toEqual([]);
  });

  it.each([
    ['this cluster', { clusterId: ours, nodeName: 'pi-4' }, 'InCluster', 'pi-4'],
    [
      'this cluster, which took it out',
      { clusterId: ours, nodeName: 'pi-5' },
      'NotAsked',
      undefined,
    ],
    ['another cluster', { clusterId: theirs, nodeName: 'pi-4' }, 'InOtherCluster', undefined],
  ])('a machine says that it belongs to %s', (_whose, member, reason, nodeName) => {
    const { status } = made('pi', { ...seen, member });
    expect(getCondition(status?.conditions, 'Addable')?.reason).toBe(reason);
    expect(status?.nodeName).toBe(nodeName);
  });

  it('are so many at most, and few of which there is only a name', () => {
    const many = (withCard: boolean): SeenMachine[] =>
      Array.from({ length: 1_000 }, (_, i) => ({
        ...seen,
        addresses: [
          {
            address: `10.77.${i >> 8}.${i & 255}`,
            ...(withCard && { hardwareAddress: `b8:27:eb:00:0${i >> 8}:${i & 255}` }),
          },
        ],
        hostNames: [`x${i}`],
      }));
    const count = (...all: SeenMachine[]): number => planMachines({ ...base, seen: all }).length;
    expect([count(...many(false)), count(...many(true))]).toEqual([32, 200]);
    const names = planMachines({ ...base, seen: [...many(false), seen] }).map((action) =>
      action.type === 'create' ? action.name : '',
    );
    expect([names.length, names[0]]).toEqual([33, 'pi']);
  });

  it('another address of the same card is the same machine', () => {
    const moved = { ...seen, addresses: [{ ...seen.addresses[0]!, address: '10.77.0.99' }] };
    expect(told({ machines: [made('pi', seen)], seen: [moved] })).toEqual(['update pi']);
  });

  it('another card at the same address is another machine, and the old one goes', () => {
    const other = {
      ...seen,
      hostNames: ['nas'],
      addresses: [{ address: '10.77.0.11', hardwareAddress: '00:11:32:00:00:01' }],
    };
    expect(told({ machines: [made('pi', seen)], seen: [other] })).toEqual([
      'delete pi',
      'create nas',
    ]);
  });

  it('the same stock name by another card is another machine', () => {
    const other = {
      ...seen,
      addresses: [{ address: '10.77.0.50', hardwareAddress: 'b8:27:eb:00:00:50' }],
    };
    expect(told({ machines: [made('pi', seen)], seen: [other] })).toEqual([
      'update pi',
      'create pi-2',
    ]);
  });

  it('a card that answers for several is no sign of one', () => {
    const card = '02:00:00:00:00:09';
    const [a, b] = ['a', 'b'].map((name, index) => ({
      ...seen,
      hostNames: [name],
      addresses: [{ address: `10.77.0.${index + 20}`, hardwareAddress: card }],
    }));
    expect(told({ machines: [made('a', a!), made('b', b!)], seen: [b!, a!] })).toEqual([]);
  });

  it('unseen for an hour it goes, unless a person told of it or accepted its host key', () => {
    const found = made('pi', seen);
    const typed = made('own', seen, { address: '10.77.0.11' });
    const accepted = made('known', seen, { hostKey: `SHA256:${'a'.repeat(43)}` });
    const gone = (machine: Machine): Machine => {
      const [action] = planMachines({ ...base, machines: [machine], seen: [] });
      return action?.type === 'update' ? { ...machine, status: action.status } : machine;
    };
    const machines = [gone(found), gone(typed), gone(accepted)];
    const at = (ms: number) => told({ machines, seen: [], nowMs: base.nowMs + ms });
    expect([at(3_599_000), at(3_600_000)]).toEqual([[], ['delete pi']]);
  });

  it.each([
    ['Done', ['pi'], 'pi'],
    ['Done', [], undefined],
    ['Running', ['pi'], undefined],
  ] as const)(
    'while it is added (%s, nodes: %s) what is told of that stays',
    (phase, nodes, want) => {
      const machine = made('pi', seen);
      const enrolment = { phase, nodeName: 'pi', message: 'as it was' };
      const added = { ...machine, status: { ...machine.status, enrolment } };
      const moved = { ...seen, addresses: [{ ...seen.addresses[0]!, address: '10.77.0.99' }] };
      const [action] = planMachines({
        ...base,
        machines: [added],
        seen: [moved],
        isNode: (name) => nodes.some((one) => one === name),
      });
      const status = action?.type === 'update' ? action.status : undefined;
      expect([status?.enrolment, status?.nodeName]).toEqual([enrolment, want]);
    },
  );

  it.each([
    ['without a name by its card', { ...seen, hostNames: [] }, 'machine-000011'],
    [
      'without either by its address',
      { ...seen, hostNames: [], addresses: [{ address: '10.77.0.11' }] },
      'at-10-77-0-11',
    ],
  ])('%s', (_, one, name) => {
    expect(told({ seen: [one] })).toEqual([`create ${name}`]);
  });

  it('of several addresses the one that lets somebody in counts', () => {
    const two = { ...seen, addresses: [{ address: '10.77.0.11' }, { address: '10.77.0.12' }] };
    const open: SshAnswer = { type: 'greeting', greeting: readGreeting('SSH-2.0-x')! };
    const [action] = planMachines({
      ...base,
      seen: [two],
      answerOf: (address) => (address === '10.77.0.12' ? open : { type: 'closed' }),
    });
    const status = action?.type === 'create' ? action.status : undefined;
    expect(status?.conditions?.map(({ reason, message }) => [reason, message])).toEqual([
      ['Heard', 'At 10.77.0.11, 10.77.0.12'],
      ['SshAnswers', 'x answers SSH on port 22 of 10.77.0.12'],
    ]);
  });
});

describe('how well the home is heard', () => {
  const lan = { name: 'lan', address: '10.77.0.1/24' };
  it.each([
    [false, false, false, 'Unknown', 'NotSearching'],
    [true, true, true, 'True', 'Heard'],
    [true, false, true, 'False', 'MulticastFiltered'],
    [true, false, false, 'False', 'NothingHeard'],
  ])(
    'searching %j, heard %j, neighbours %j',
    (isSearching, isHeard, hasNeighbours, status, reason) => {
      expect(hears({ isSearching, isHeard, hasNeighbours })).toMatchObject({ status, reason });
    },
  );

  it('a search says where it goes on, and what is the matter elsewhere', () => {
    const problems = new Map([['wlan0', 'in use']]);
    expect(searching('off', [], new Map())).toMatchObject({ status: 'False', reason: 'Off' });
    expect(searching(['lan', 'wlan0', 'usb0'], [lan], problems)).toMatchObject({
      status: 'True',
      message:
        'On lan (10.77.0.1/24); wlan0: in use; usb0: no such interface, or it has no IPv4 address',
    });
    expect(searching(['usb0'], [], new Map())).toMatchObject({
      status: 'False',
      reason: 'NoInterface',
    });
  });
});

it('a sweep leaves out the network and its broadcast, and asks nobody twice', () => {
  expect(sweepAddresses(['10.77.0.0/30', '10.77.0.1/32', 'nonsense'])).toEqual([
    '10.77.0.1',
    '10.77.0.2',
  ]);
});
