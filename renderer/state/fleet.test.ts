import { describe, expect, it } from 'vitest';
import type { Discovery, Machine } from '#kube/api/fleet.ts';
import { fakeMachine, fakeNeighbours, fakeSearch } from '../../test/fake-cluster-fleet.ts';
import { describeSearch, nameOfTyped, parseTyped } from './home-search.ts';
import { describeSeen, seenMachines } from './seen-machine.ts';

const machines = fakeNeighbours() as unknown as Machine[];
const one = (...args: Parameters<typeof fakeMachine>) =>
  describeSeen(fakeMachine(...args) as unknown as Machine);
const search = (...args: Parameters<typeof fakeSearch>) =>
  fakeSearch(...args) as unknown as Discovery;

describe('machines that are seen', () => {
  it('come with those first that can be added, and no Node of the cluster again', () => {
    const seen = seenMachines(machines, new Set(['nuc', 'pi-kitchen']));
    expect(seen.map(({ name, word }) => `${name}: ${word}`)).toEqual([
      'old-laptop: Can be added',
      'raspberrypi: Can be added',
      'pi-attic: Its SSH is off',
      'nas: Does not answer',
      'gaming-pc: Runs Windows',
      'at-192-168-1-99: Not there',
    ]);
  });

  it('are gone from the list as soon as their Node is there, also before the search noticed', () => {
    const enrolment = { phase: 'Done', nodeName: 'kitchen' } as const;
    const added = [{ nodeName: 'kitchen' }, { enrolment }].map(
      (status) => fakeMachine('raspberrypi', status) as unknown as Machine,
    );
    const counts = [[], ['kitchen']].map((nodes) => seenMachines(added, new Set(nodes)).length);
    expect(counts).toEqual([2, 0]);
  });

  it('say how they were noticed and what they are', () => {
    const { found, about, face } = one('raspberrypi', {
      vendor: 'Raspberry Pi',
      operatingSystem: 'Debian 12',
      typed: '192.168.1.50',
    });
    expect([found, about, face]).toEqual([
      '192.168.1.50: you typed it',
      'Raspberry Pi · Debian 12',
      'pi',
    ]);
  });

  it('tell a person with a Pi of its card, others of their SSH server', () => {
    const closed = { reason: 'SshClosed' } as const;
    const [pi, pc] = [one('raspberrypi', closed), one('pc', closed)];
    expect([pi.wantsCard, pi.canAdd, pc.wantsCard, pc.hint]).toEqual([
      true,
      false,
      false,
      'Install and start its SSH server (openssh-server).',
    ]);
  });

  it('can be tried at once where the last question may be out of date', () => {
    const reasons = [
      'SshClosed',
      'SshSilent',
      'NotAsked',
      'NotLinux',
      'NotSsh',
      'SshAnswers',
    ] as const;
    const can = reasons.filter((reason) => one('pc', { reason }).canTry);
    expect([can, one('pc', { isAway: true }).canTry]).toEqual([
      ['SshClosed', 'SshSilent', 'NotAsked'],
      true,
    ]);
  });

  it('show how far adding them is, and that it can be tried again', () => {
    const steps = [
      { name: 'a', title: 'A', state: 'Done' as const },
      { name: 'b', title: 'B', state: 'Waiting' as const },
    ];
    const going = one('pi', { enrolment: { phase: 'Running', steps } });
    const failed = one('pi', { enrolment: { phase: 'Failed', message: 'no space' }, isAway: true });
    const over = one('pi', { enrolment: { phase: 'Done', steps } });
    expect([
      [going.word, going.share],
      [failed.word, failed.hint, failed.canAdd, failed.share],
      [over.word, over.share],
    ]).toEqual([
      ['Being added', 0.5],
      ['Not added', 'no space', true, undefined],
      ['Can be added', undefined],
    ]);
  });

  it('are told to be of another home, and are not offered', () => {
    const other = one('pi', { reason: 'InOtherCluster' });
    expect([other.word, other.canAdd, other.canTry]).toEqual(['In another home', false, false]);
  });

  it('keep the words of a server that knows more reasons', () => {
    const newer = one('pi', { reason: 'OnTheMoon' as never });
    expect([newer.word, newer.hint]).toEqual([
      "Can't be added",
      'OnTheMoon on port 22 of 192.168.1.50',
    ]);
    const theirs = one('pi', { reason: 'InOtherCluster' });
    expect([theirs.word, theirs.hint, theirs.canAdd]).toEqual([
      'In another home',
      'InOtherCluster on port 22 of 192.168.1.50',
      false,
    ]);
  });
});

describe('why one is not seen', () => {
  const cases = [
    {
      name: 'the search is off',
      given: search('Off'),
      want: ['asleep: Flotilla does not look for machines'],
    },
    {
      name: 'no interface of that name',
      given: search('NoInterface'),
      want: ['trouble: Flotilla can look on none of the networks it was told of'],
    },
    {
      name: 'calls are kept back',
      given: search('Searching', 'MulticastFiltered'),
      want: [
        'ok: Flotilla looks on eth0 (192.168.1.20/24)',
        'wait: Devices are there, but none can tell its name',
        'wait: pi-attic is here with SSH turned off',
      ],
    },
    {
      name: 'another network',
      given: search('Searching', 'NothingHeard'),
      want: [
        'ok: Flotilla looks on eth0 (192.168.1.20/24)',
        'wait: No other device is heard at all',
        'wait: pi-attic is here with SSH turned off',
      ],
    },
  ];
  const seen = seenMachines(machines, new Set());
  it.each(cases)('$name', ({ given, want }) => {
    const { lines } = describeSearch(given, seen);
    expect(lines.map(({ tone, text }) => `${tone}: ${text}`)).toEqual(want);
  });

  it('says nothing before anything is known', () => {
    expect(describeSearch(undefined, []).lines).toEqual([]);
  });
});

describe('the sweep', () => {
  function withNetworks(addresses: readonly string[], sweep: string[] = [], generation = 1) {
    const found = search();
    const interfaces = addresses.map((address, index) => ({ name: `eth${index}`, address }));
    found.metadata.generation = generation;
    found.spec = { sweep };
    found.status = { ...found.status, interfaces };
    return describeSearch(found, []).sweep;
  }
  const cases = [
    {
      name: 'is offered for the own networks',
      given: withNetworks(['192.168.1.20/24', '10.0.0.5/22']),
      want: { kind: 'unasked', networks: ['192.168.1.0/24', '10.0.0.0/22'], addresses: 254 + 1022 },
    },
    {
      name: 'is offered for the neighbourhood in a network that is too large',
      given: withNetworks(['10.1.2.3/8']),
      want: { kind: 'unasked', networks: ['10.1.2.0/24'], addresses: 254 },
    },
    {
      name: 'goes on until the search is through with what was asked for last',
      given: withNetworks(['192.168.1.20/24'], ['192.168.1.0/24'], 2),
      want: { kind: 'asking', networks: ['192.168.1.0/24'], addresses: 254 },
    },
    {
      name: 'is over then',
      given: withNetworks(['192.168.1.20/24'], ['192.168.1.0/24']),
      want: { kind: 'asked', networks: ['192.168.1.0/24'], addresses: 254 },
    },
    { name: 'needs a network', given: withNetworks([]), want: { kind: 'impossible' } },
  ];
  it.each(cases)('$name', ({ given, want }) => {
    expect(given).toEqual(want);
  });
});

describe('what a person types', () => {
  const cases = [
    { text: ' 192.168.1.50 ', address: '192.168.1.50', name: 'at-192-168-1-50' },
    { text: 'RaspberryPi.local', address: 'raspberrypi.local', name: 'raspberrypi' },
    { text: 'pi@10.0.0.7:2222', address: '10.0.0.7', sshPort: 2222, name: 'at-10-0-0-7-2222' },
    { text: 'ssh://nuc:22', address: 'nuc', sshPort: 22, name: 'nuc-22' },
    { text: '', address: '', name: 'machine' },
  ];
  it.each(cases)('is an address: "$text"', ({ text, address, sshPort, name }) => {
    const typed = parseTyped(text);
    expect([typed, nameOfTyped(typed)]).toEqual([{ address, sshPort }, name]);
  });
});
