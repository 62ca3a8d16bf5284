// Rules against a reading of the policies: any policies, any packet, and the way from any table to any other.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import type { LabelSelector } from '#kube/api/meta.ts';
import type { IPBlock, NetworkPolicyPeer, NetworkPolicyPort } from '#kube/api/networking.ts';
import { policyContent } from './policies.ts';
import { changeText, isEmpty, wholeText } from './table-content.ts';
import {
  contentOf,
  here,
  makeNamespace,
  makePod,
  makePolicy,
  passes,
  tableOf,
} from './testing/home.ts';
import { mayPass, type Home, type Journey } from './testing/oracle.ts';

const names = ['attic', 'cellar', 'hall'];
const roles = ['web', 'db', 'cam'];
const portNames = ['http', 'dns'];
const strangers = ['192.168.1.7', '203.0.113.9', '10.244.7.7'];

const anyLabels = fc.record(
  { role: fc.constantFrom(...roles), tier: fc.constantFrom('front', 'back') },
  { requiredKeys: [] },
) as fc.Arbitrary<Record<string, string>>;
const anySelector: fc.Arbitrary<LabelSelector> = fc.oneof(
  fc.constant({}),
  fc.constantFrom(...roles).map((role) => ({ matchLabels: { role } })),
  fc.record({
    matchExpressions: fc.array(
      fc.oneof(
        fc.record({
          key: fc.constantFrom('role', 'tier'),
          operator: fc.constantFrom('In', 'NotIn'),
          values: fc.subarray([...roles, 'front'], { minLength: 1 }),
        }),
        fc.record({
          key: fc.constantFrom('role', 'tier'),
          operator: fc.constantFrom('Exists', 'DoesNotExist'),
        }),
      ),
      { minLength: 1, maxLength: 2 },
    ),
  }),
);
const anyBlock: fc.Arbitrary<IPBlock> = fc.record(
  {
    cidr: fc.constantFrom('0.0.0.0/0', '10.0.0.0/8', '10.244.0.0/16', '192.168.0.0/16', 'fd00::/8'),
    except: fc.subarray(['10.244.0.0/24', '10.244.1.3/32', '10.244.1.0/29', '192.168.1.0/24']),
  },
  { requiredKeys: ['cidr'] },
);
const anyPeer: fc.Arbitrary<NetworkPolicyPeer> = fc.oneof(
  fc.record({ podSelector: anySelector }),
  fc.record({ namespaceSelector: anySpace() }),
  fc.record({ namespaceSelector: anySpace(), podSelector: anySelector }),
  fc.record({ ipBlock: anyBlock }),
);
const anyPort: fc.Arbitrary<NetworkPolicyPort> = fc.oneof(
  fc.record(
    { protocol: fc.constantFrom('TCP', 'UDP', 'SCTP'), port: fc.constantFrom(53, 80, 8080) },
    { requiredKeys: [] },
  ),
  fc.record({ protocol: fc.constantFrom('TCP', 'UDP'), port: fc.constantFrom(...portNames) }),
  fc.record({ port: fc.constantFrom(50, 79), endPort: fc.constantFrom(79, 80, 8080) }),
);
const anyRule = fc.record(
  { peers: fc.array(anyPeer, { maxLength: 3 }), ports: fc.array(anyPort, { maxLength: 3 }) },
  { requiredKeys: [] },
);
const anyPolicy = fc
  .record({
    namespace: fc.constantFrom(...names),
    podSelector: anySelector,
    ingress: fc.array(anyRule, { maxLength: 2 }),
    egress: fc.array(anyRule, { maxLength: 2 }),
    types: fc.constantFrom([], ['Ingress'], ['Egress'], ['Ingress', 'Egress']),
  })
  .map(({ namespace, podSelector, ingress, egress, types }) => ({
    namespace,
    spec: {
      podSelector,
      ingress: ingress.map(({ peers, ports }) => ({ ...of('from', peers), ...of('ports', ports) })),
      egress: egress.map(({ peers, ports }) => ({ ...of('to', peers), ...of('ports', ports) })),
      ...of('policyTypes', types),
    },
  }));
const anyPod = fc.record({
  namespace: fc.constantFrom(...names),
  labels: anyLabels,
  node: fc.constantFrom(here, here, 'there'),
  phase: fc.constantFrom('Running', 'Running', 'Running', 'Failed'),
  isHost: fc.constantFrom(false, false, false, true),
  port: fc.constantFrom(53, 80, 8080),
  portName: fc.constantFrom(...portNames),
  protocol: fc.constantFrom('TCP', 'UDP'),
});
const anyHome: fc.Arbitrary<Home> = fc
  .record({
    policies: fc.array(anyPolicy, { maxLength: 4 }),
    tiers: fc.tuple(anyLabels, anyLabels, anyLabels),
    pods: fc.array(anyPod, { minLength: 2, maxLength: 8 }),
  })
  .map(({ policies, tiers, pods }) => ({
    namespaces: names.map((name, i) => makeNamespace(name, tiers[i])),
    policies: policies.map(({ namespace, spec }, i) => makePolicy(`${namespace}/p${i}`, spec)),
    pods: pods.map((pod, i) => {
      const { namespace, labels, node, phase, isHost, port, portName, protocol } = pod;
      const address = `10.244.${node === here ? 0 : 1}.${i + 2}`;
      const ports = [{ name: portName, containerPort: port, protocol }];
      return makePod(`${namespace}/pod${i}`, address, labels, { node, phase, isHost, ports });
    }),
  }));

function anySpace(): fc.Arbitrary<LabelSelector> {
  return fc.oneof(
    anySelector,
    fc
      .constantFrom(...names)
      .map((name) => ({ matchLabels: { 'kubernetes.io/metadata.name': name } })),
  );
}

/** Left out when empty, as people leave it out. */
function of<T>(key: string, list: readonly T[] | undefined): Record<string, readonly T[]> {
  return list === undefined || list.length === 0 ? {} : { [key]: list };
}

function journeys({ pods }: Home): Journey[] {
  const addresses = [...pods.map(({ status }) => status?.podIP ?? ''), ...strangers];
  const ends = [
    { protocol: 'UDP', port: 53 },
    { protocol: 'TCP', port: 80 },
    { protocol: 'TCP', port: 81 },
    { protocol: 'UDP', port: 8080 },
    { protocol: 'SCTP', port: 80 },
    { protocol: 'ICMP', port: 0 },
  ] as const;
  return addresses.flatMap((from) =>
    addresses.flatMap((to) => ends.map((end) => ({ from, to, ...end }))),
  );
}

describe('the rules of one machine', () => {
  it('let through what a reading of the policies lets through, and nothing else', () => {
    fc.assert(
      fc.property(anyHome, (home) => {
        const table = tableOf(contentOf(home));
        const wrong = journeys(home).filter(
          (journey) => passes(table, journey) !== mayPass(home, journey, here),
        );
        expect(wrong).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  it('let through together with those of the other machine what the policies say', () => {
    fc.assert(
      fc.property(anyHome, (home) => {
        const tables = [here, 'there'].map((node) => tableOf(contentOf(home, node)));
        const wrong = journeys(home).filter(
          (journey) => tables.every((table) => passes(table, journey)) !== mayPass(home, journey),
        );
        expect(wrong).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });

  it('let known connections pass', () => {
    fc.assert(
      fc.property(anyHome, (home) => {
        const table = tableOf(contentOf(home));
        expect(journeys(home).every((journey) => passes(table, journey, true))).toBe(true);
      }),
      { numRuns: 20 },
    );
  });

  it('are the same whether changed or written anew', () => {
    const world = fc.tuple(anyHome, fc.array(fc.nat(7)), anyLabels);
    fc.assert(
      fc.property(world, ([home, gone, labels]) => {
        // The same policies over other pods: what changes all the time.
        const pods = home.pods
          .filter((_, i) => !gone.includes(i))
          .map((pod): Pod => ({ ...pod, metadata: { ...pod.metadata, labels } }));
        for (const next of [
          { ...home, pods: home.pods.slice(1) },
          { ...home, pods },
        ]) {
          const [before, after] = [contentOf(home), contentOf(next)];
          const text = changeText(before, after, 't');
          if (text === undefined) continue;
          const table = tableOf(before);
          table.load(text);
          expect(table.listing()).toBe(tableOf(after).listing());
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('a change', () => {
  const namespaces = [makeNamespace('default')];
  const policies = [
    makePolicy('web', {
      podSelector: { matchLabels: { app: 'web' } },
      ingress: [{ from: [{ podSelector: { matchLabels: { app: 'db' } } }] }],
    }),
  ];
  const web = makePod('default/web', '10.244.0.2', { app: 'web' });
  const db = makePod('default/db', '10.244.1.2', { app: 'db' }, { node: 'there' });
  const before = contentOf({ policies, namespaces, pods: [web] });

  it('of pods is a few elements', async () => {
    const more = makePod('default/web-2', '10.244.0.3', { app: 'web' });
    const after = contentOf({ policies, namespaces, pods: [web, db, more] });
    await expect(changeText(before, after, 't')).toMatchFileSnapshot('testdata/pods-come.nft');
  });

  it('that changes nothing is no transaction', () => {
    const other = makePod('default/other', '10.244.0.9');
    expect(changeText(before, contentOf({ policies, namespaces, pods: [web, other] }), 't')).toBe(
      '',
    );
  });

  it('of what rules say is written anew', () => {
    const [policy] = policies;
    const open = { ...policy!, spec: { ...policy!.spec, ingress: [{}] } };
    const after = contentOf({ policies: [open], namespaces, pods: [web] });
    expect(changeText(before, after, 't')).toBeUndefined();
  });
});

describe('a table', () => {
  const namespaces = [makeNamespace('default'), makeNamespace('other', { team: 'blue' })];
  const all = makePolicy('all', {
    podSelector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['web', 'api'] }] },
    policyTypes: ['Ingress', 'Egress'],
    ingress: [
      {
        from: [
          { podSelector: { matchLabels: { app: 'api' } } },
          { namespaceSelector: { matchLabels: { team: 'blue' } } },
          { ipBlock: { cidr: '192.168.0.0/16', except: ['192.168.9.0/24'] } },
        ],
        ports: [
          { protocol: 'TCP', port: 80 },
          { protocol: 'TCP', port: 8000, endPort: 8100 },
          { protocol: 'TCP', port: 'metrics' },
          { protocol: 'UDP' },
        ],
      },
    ],
    egress: [{ to: [{ ipBlock: { cidr: '0.0.0.0/0' } }], ports: [{ protocol: 'UDP', port: 53 }] }],
  });
  const ports = [{ name: 'metrics', containerPort: 9100 }];
  const pods = [
    makePod('default/web', '10.244.0.2', { app: 'web' }, { ports }),
    makePod('default/api', '10.244.1.2', { app: 'api' }, { node: 'there' }),
    makePod('other/x', '10.244.1.3', {}, { node: 'there' }),
  ];

  it('reads as it always did', async () => {
    const text = wholeText(contentOf({ policies: [all], namespaces, pods }), 'flotilla_policy_1');
    await expect(text).toMatchFileSnapshot('testdata/everything.nft');
  });

  it('is not needed where no pod of the machine is isolated', () => {
    expect(isEmpty(contentOf({ policies: [all], namespaces, pods: pods.slice(1) }))).toBe(true);
    expect(isEmpty(contentOf({ policies: [], namespaces, pods }))).toBe(true);
  });

  it('has one chain for all pods that the same policies select', () => {
    const many = Array.from({ length: 50 }, (_, i) =>
      makePod(`default/web-${i}`, `10.244.0.${i + 2}`, { app: 'web', n: String(i) }),
    );
    const { chains } = contentOf({ policies: [all], namespaces, pods: many });
    expect(chains.size).toBe(2);
  });

  it('of 50 policies and 1,000 pods is made in well under a second', () => {
    const policies = Array.from({ length: 50 }, (_, i) =>
      makePolicy(`p${i}`, {
        podSelector: { matchLabels: { app: `a${i}` } },
        ingress: [{ from: [{ podSelector: { matchLabels: { app: `a${(i + 1) % 50}` } } }] }],
      }),
    );
    const crowd = Array.from({ length: 1000 }, (_, i) =>
      makePod(
        `default/p${i}`,
        `10.244.${i % 10}.${2 + Math.floor(i / 10)}`,
        { app: `a${i % 50}` },
        {
          node: i % 10 === 0 ? here : 'there',
        },
      ),
    );
    const state = { policies, namespaces, pods: crowd };
    const content = contentOf(state);
    expect([content.chains.size, content.sets.get('ingress-pods')?.elements.size]).toEqual([
      5, 100,
    ]);
    const startMs = performance.now();
    for (let i = 0; i < 5; i++) contentOf(state);
    expect((performance.now() - startMs) / 5).toBeLessThan(500);
  });

  it('refuses a selector that nobody can have stored, and says so', () => {
    const broken = makePolicy('broken', {
      podSelector: { matchExpressions: [{ key: 'a', operator: 'Like' }] },
    });
    expect(() => policyContent({ policies: [broken], namespaces, pods: [] })).toThrow('"Like"');
  });
});
