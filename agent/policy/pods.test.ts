import { describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import { blockRanges } from './blocks.ts';
import { policyPods, slimPod } from './pods.ts';
import { here, makePod } from './testing/home.ts';

const at = (pods: readonly Pod[], claims?: Parameters<typeof policyPods>[2]): string[] =>
  policyPods(pods, here, claims).map(
    ({ address, labels, isLocal }) => `${address} ${labels['app']} ${isLocal ? 'here' : 'there'}`,
  );

describe('pods as policies see them', () => {
  const web = makePod('a/web', '10.244.0.2', { app: 'web' });
  const dated = (pod: Pod, creationTimestamp: string, deletionTimestamp?: string): Pod => ({
    ...pod,
    metadata: {
      ...pod.metadata,
      creationTimestamp,
      ...(deletionTimestamp !== undefined && { deletionTimestamp }),
    },
  });
  const cases: [string, Pod[], string[]][] = [
    ['one with an address', [web], ['10.244.0.2 web here']],
    [
      'of another machine',
      [makePod('a/x', '10.244.1.2', { app: 'x' }, { node: 'pi2' })],
      ['10.244.1.2 x there'],
    ],
    ['none without an address', [makePod('a/x', '')], []],
    ["none in the machine's network", [makePod('a/x', '10.77.0.1', {}, { isHost: true })], []],
    ['none that is over', [makePod('a/x', '10.244.0.2', {}, { phase: 'Succeeded' })], []],
    [
      'the later of two with one address',
      [
        dated(web, '2026-01-02T00:00:00Z'),
        dated(makePod('a/old', '10.244.0.2', { app: 'old' }), '2026-01-01T00:00:00Z'),
      ],
      ['10.244.0.2 web here'],
    ],
    [
      'the one that does not end of two with one address',
      [
        dated(web, '2026-01-01T00:00:00Z'),
        dated(
          makePod('a/old', '10.244.0.2', { app: 'old' }),
          '2026-01-02T00:00:00Z',
          '2026-01-03T00:00:00Z',
        ),
      ],
      ['10.244.0.2 web here'],
    ],
  ];
  it.each(cases)('%s', (_, pods, want) => {
    expect(at(pods)).toEqual(want);
  });

  it("have the address that this machine gave them, and it is nobody else's", () => {
    const old = makePod('a/old', '10.244.0.9', { app: 'old' });
    const claims = new Map([
      ['uid-a/web', { pod: web, address: '10.244.0.9' }],
      ['uid-a/new', { pod: makePod('a/new', '', { app: 'new' }), address: '10.244.0.4' }],
    ]);
    expect(at([web, old], claims)).toEqual(['10.244.0.9 web here', '10.244.0.4 new here']);
  });

  it('have the labels of now, not those they began with', () => {
    const renamed = makePod('a/web', '', { app: 'renamed' });
    const claims = new Map([['uid-a/web', { pod: web, address: '10.244.0.2' }]]);
    expect(at([renamed], claims)).toEqual(['10.244.0.2 renamed here']);
  });

  it('tell named ports of containers and of sidecars', () => {
    const pod: Pod = {
      ...web,
      spec: {
        ...web.spec,
        containers: [{ name: 'main', ports: [{ name: 'http', containerPort: 80 }] }],
        initContainers: [
          { name: 'first', ports: [{ name: 'not', containerPort: 1 }] },
          {
            name: 'side',
            restartPolicy: 'Always',
            ports: [{ name: 'dns', containerPort: 53, protocol: 'UDP' }],
          },
        ],
      },
    };
    const want = [
      { name: 'http', protocol: 'TCP', port: 80 },
      { name: 'dns', protocol: 'UDP', port: 53 },
    ];
    expect(policyPods([pod], here)[0]?.ports).toEqual(want);
    expect(policyPods([slimPod(pod)], here)).toEqual(policyPods([pod], here));
  });
});

describe('blocks', () => {
  const cases: [string, Parameters<typeof blockRanges>[0], string[]][] = [
    ['one address', [{ cidr: '192.168.1.7/32' }], ['192.168.1.7']],
    ['a network', [{ cidr: '192.168.1.0/24' }], ['192.168.1.0-192.168.1.255']],
    ['everything', [{ cidr: '0.0.0.0/0' }], ['0.0.0.0-255.255.255.255']],
    [
      'holes at both ends and in the middle',
      [{ cidr: '10.0.0.0/24', except: ['10.0.0.0/26', '10.0.0.255/32', '10.0.0.128/25'] }],
      ['10.0.0.64-10.0.0.127'],
    ],
    [
      'holes within holes',
      [{ cidr: '10.0.0.0/24', except: ['10.0.0.64/26', '10.0.0.70/32'] }],
      ['10.0.0.0-10.0.0.63', '10.0.0.128-10.0.0.255'],
    ],
    [
      'a hole that another block fills',
      [{ cidr: '10.0.0.0/24', except: ['10.0.0.0/25'] }, { cidr: '10.0.0.7/32' }],
      ['10.0.0.7', '10.0.0.128-10.0.0.255'],
    ],
    [
      'neighbours as one',
      [{ cidr: '10.0.0.0/25' }, { cidr: '10.0.0.128/25' }],
      ['10.0.0.0-10.0.0.255'],
    ],
    ['none of IPv6', [{ cidr: 'fd00::/8', except: ['fd00::/16'] }], []],
  ];
  it.each(cases)('%s', (_, blocks, want) => {
    expect(blockRanges(blocks)).toEqual(want);
  });
});
