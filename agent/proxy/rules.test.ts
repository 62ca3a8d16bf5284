import { describe, expect, it } from 'vitest';
import type { ServiceSpec } from '#kube/api/core.ts';
import type { Endpoint } from '#kube/api/discovery.ts';
import { changeText, wholeText, type NftablesOptions } from './nftables.ts';
import { RuleMaker, type RuleSet } from './rules.ts';
import { tableContent } from './table-content.ts';
import {
  http,
  httpTarget,
  makeService,
  makeSlice,
  place,
  rulesFor,
  ruleSet,
} from './testing/services.ts';

const here = { nodeName: 'here', conditions: { ready: true, serving: true } };
const there = { ...here, nodeName: 'there' };
const leaving = { ...here, conditions: { ready: false, serving: true, terminating: true } };

function rulesOf(spec: Partial<ServiceSpec>, endpoints: Endpoint[], balancer?: string): RuleSet {
  return rulesFor(
    [makeService('web', { ports: [http], ...spec }, balancer)],
    [makeSlice('web', endpoints, httpTarget)],
  );
}

describe('proxyRules', () => {
  const a = { ...here, addresses: ['10.244.0.2'] };
  const b = { ...there, addresses: ['10.244.1.2'] };
  const unready = { ...here, addresses: ['10.244.0.3'], conditions: { ready: false } };
  const dying = { ...leaving, addresses: ['10.244.0.4'] };
  const inZone = <T extends Endpoint>(end: T, name: string): T => ({
    ...end,
    hints: { ...end.hints, forZones: [{ name }] },
  });
  const onNode = <T extends Endpoint>(end: T, name: string): T => ({
    ...end,
    hints: { ...end.hints, forNodes: [{ name }] },
  });
  const cases: [
    title: string,
    spec: Partial<ServiceSpec>,
    endpoints: Endpoint[],
    internal: string,
    external: string,
  ][] = [
    ['serves every ready endpoint', {}, [a, b], '2 1.2', '2 1.2'],
    ['leaves out what is not ready', {}, [unready, a], '2', '2'],
    ['leaves out the terminating while one is ready', {}, [a, dying], '2', '2'],
    ['falls back to what still serves while it terminates', {}, [dying, unready], '4', '4'],
    ['takes missing conditions for ready', {}, [{ addresses: ['10.244.0.2'] }], '2', '2'],
    ['refuses when nothing is there', {}, [], 'reject', 'reject'],
    ['keeps to this node inside', { internalTrafficPolicy: 'Local' }, [a, b], '2', '2 1.2'],
    ['keeps to this node outside', { externalTrafficPolicy: 'Local' }, [a, b], '2 1.2', '2'],
    ['is silent when only others could', { externalTrafficPolicy: 'Local' }, [b], '1.2', 'drop'],
    ['counts an endpoint once', {}, [a, a], '2', '2'],
    [
      'takes missing serving for served',
      {},
      [{ ...dying, conditions: { ready: false, terminating: true } }],
      '4',
      '4',
    ],
    [
      'stays in its zone when all say theirs',
      {},
      [inZone(a, 'cellar'), inZone(b, 'attic')],
      '1.2',
      '1.2',
    ],
    ['ignores zones when one is not said', {}, [a, inZone(b, 'attic')], '2 1.2', '2 1.2'],
    [
      'ignores zones when none is meant',
      {},
      [inZone(a, 'cellar'), inZone(b, 'cellar')],
      '2 1.2',
      '2 1.2',
    ],
    [
      'stays on its node before its zone',
      {},
      [onNode(inZone(a, 'cellar'), 'here'), onNode(inZone(b, 'attic'), 'there')],
      '2',
      '2',
    ],
    [
      'leaves its zone for what still serves, when nothing else does',
      {},
      [inZone(dying, 'cellar')],
      '4',
      '4',
    ],
    [
      'keeps to this node whatever the zone',
      { externalTrafficPolicy: 'Local' },
      [inZone(a, 'cellar'), inZone(b, 'attic')],
      '1.2',
      '2',
    ],
    [
      'ignores what is no IPv4 address',
      {},
      [{ ...here, addresses: ['fd00::1', 'x; drop'] }],
      'reject',
      'reject',
    ],
  ];
  it.each(cases)('%s', (_title, spec, endpoints, internal, external) => {
    const [rule] = rulesOf(spec, endpoints).ports;
    const show = (target = rule?.internal): string =>
      target?.endpoints
        .map((e) => e.address.replace('10.244.', '').replace(/^0\./, ''))
        .join(' ') ||
      (target?.whenEmpty ?? '');
    expect([show(rule?.internal), show(rule?.external)]).toEqual([internal, external]);
  });

  it('has nothing to do for headless and ExternalName Services', () => {
    expect(rulesOf({ clusterIP: 'None' }, [a]).ports).toEqual([]);
    expect(rulesOf({ type: 'ExternalName', externalName: 'x.example' }, [a]).ports).toEqual([]);
  });

  it('matches ports by name, also over several slices', () => {
    const dns = { name: 'dns', port: 53, protocol: 'UDP', nodePort: 30053 };
    const rules = rulesFor(
      [makeService('web', { ports: [http, dns] })],
      [
        makeSlice('web', [a], [...httpTarget, { name: 'dns', port: 5353, protocol: 'UDP' }]),
        makeSlice('web', [b], httpTarget),
        makeSlice('other', [{ ...here, addresses: ['10.244.0.9'] }], httpTarget),
      ],
    );
    expect(rules.ports.map((rule) => [rule.key, rule.nodePort, rule.internal.endpoints])).toEqual([
      [
        'default/web/tcp/80',
        undefined,
        [
          { address: '10.244.0.2', port: 8080 },
          { address: '10.244.1.2', port: 8080 },
        ],
      ],
      ['default/web/udp/53', 30053, [{ address: '10.244.0.2', port: 5353 }]],
    ]);
  });

  it('leaves Services of another proxy alone', () => {
    const own = makeService('web', { ports: [http] });
    for (const label of [
      'service.kubernetes.io/service-proxy-name',
      'service.kubernetes.io/headless',
    ]) {
      const metadata = { ...own.metadata, labels: { [label]: 'x' } };
      expect(rulesFor([{ ...own, metadata }], []).ports).toEqual([]);
    }
  });

  it('has balancer addresses, but of balancers that pass connections on themselves', () => {
    const service = makeService('web', { ports: [http] });
    const ingress = [
      { ip: '198.51.100.2' },
      { ip: '198.51.100.1', ipMode: 'VIP' },
      { ip: '198.51.100.3', ipMode: 'Proxy' },
      { hostname: 'somewhere' },
    ];
    const [rule] = rulesFor([{ ...service, status: { loadBalancer: { ingress } } }], []).ports;
    expect(rule?.balancerIps).toEqual(['198.51.100.1', '198.51.100.2']);
  });

  it('has the sources of a balancer without those that are in others', () => {
    const sources = (...given: string[]) =>
      rulesOf({ loadBalancerSourceRanges: given }, [a], '198.51.100.1').ports[0]?.sources;
    expect(sources(' 10.1.2.3/16', '10.0.0.0/8', '10.0.0.0/8')).toEqual(['10.0.0.0/8']);
    expect(sources('10.0.0.0/8', '0.0.0.0/0')).toBeUndefined();
    expect(sources()).toBeUndefined();
    expect(sources('fd00::/8')).toBeUndefined();
    // The node may: it calls by the balancer's address if that is its own.
    expect(sources('192.168.1.0/24')).toEqual(['192.168.1.0/24', '198.51.100.1/32']);
  });

  it('tells balancers how many endpoints are here, each address once', () => {
    const spec = {
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: 31_000,
      ports: [http, { ...http, name: 'other', port: 81 }],
    };
    const rules = rulesFor(
      [makeService('web', spec)],
      [makeSlice('web', [a, b, dying], [...httpTarget, { name: 'other', port: 8081 }])],
    );
    const check = { namespace: 'default', name: 'web', port: 31_000, localEndpoints: 1 };
    expect(rules.healthChecks).toEqual([check]);
    const isCluster = { ...spec, externalTrafficPolicy: 'Cluster' };
    expect(rulesFor([makeService('web', isCluster)], []).healthChecks).toEqual([]);
  });

  it('names Services that have IPv6 addresses only', () => {
    const six = makeService('six', {
      clusterIP: 'fd00::1',
      clusterIPs: ['fd00::1'],
      ports: [http],
    });
    expect(rulesFor([six, makeService('web', {})], []).problems).toEqual([
      expect.stringContaining('default/six'),
    ]);
  });

  it('keeps the rules of what did not change, until the node moves', () => {
    const maker = new RuleMaker();
    const services = ['a', 'b'].map((name) => makeService(name, { ports: [http] }));
    const slices = ['a', 'b'].map((name) => makeSlice(name, [a], httpTarget));
    const make = (changed = slices, zone = 'attic') =>
      maker.make({ services, endpointSlices: changed, ...place, zone }).ports;
    const first = make();
    const second = make([makeSlice('a', [b], httpTarget), slices[1] ?? makeSlice('b', [], [])]);
    expect(second.map((rule, i) => rule === first[i])).toEqual([false, true]);
    expect(second[0]?.internal.endpoints).toEqual([{ address: '10.244.1.2', port: 8080 }]);
    expect(make(slices, 'cellar')[1]).not.toBe(first[1]);
  });

  it('does not depend on the order of what it is given', () => {
    expect(rulesOf({}, [b, a])).toEqual(rulesOf({}, [a, b]));
  });
});

describe('wholeText', () => {
  const options: NftablesOptions = {
    table: 'flotilla',
    bridge: 'flt-1',
    serviceCidr: '10.96.0.0/16',
    loopbackNodePorts: true,
    bridgeNetfilter: true,
  };
  const pods = [2, 3, 4].map((n) => ({ ...here, addresses: [`10.244.0.${n}`] }));
  const far = { ...there, addresses: ['10.244.1.2'] };
  const node = { ...http, nodePort: 30_080 };
  const dns = { name: 'http', port: 53, protocol: 'UDP' };
  const call = { name: 'http', port: 5060, protocol: 'SCTP' };
  const cases: [name: string, rules: RuleSet, options: NftablesOptions][] = [
    ['empty', ruleSet(), options],
    ['cluster-ip', rulesOf({}, pods), options],
    ['protocols', rulesOf({ ports: [http, dns, call] }, pods.slice(1)), options],
    ['node-port', rulesOf({ ports: [node], externalIPs: ['203.0.113.5'] }, pods), options],
    ['one-endpoint', rulesOf({ ports: [node] }, pods.slice(1, 2)), options],
    ['no-endpoints', rulesOf({ ports: [node] }, []), options],
    [
      'external-local',
      rulesOf({ ports: [node], externalTrafficPolicy: 'Local' }, [...pods, far]),
      options,
    ],
    [
      'external-elsewhere',
      rulesOf({ ports: [node], externalTrafficPolicy: 'Local' }, [far]),
      options,
    ],
    ['internal-elsewhere', rulesOf({ internalTrafficPolicy: 'Local' }, [far]), options],
    [
      'balancer',
      rulesOf(
        {
          type: 'LoadBalancer',
          ports: [node],
          loadBalancerSourceRanges: ['192.168.0.0/16', '10.1.0.0/16'],
        },
        pods,
        '198.51.100.7',
      ),
      options,
    ],
    ['affinity', rulesOf({ sessionAffinity: 'ClientIP', ports: [node] }, pods.slice(1)), options],
    [
      'affinity-local',
      rulesOf(
        {
          sessionAffinity: 'ClientIP',
          sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
          ports: [node],
          externalTrafficPolicy: 'Local',
        },
        [...pods.slice(2), far],
      ),
      options,
    ],
    [
      'plain-bridge',
      rulesOf({ ports: [node] }, pods),
      { ...options, bridgeNetfilter: false, loopbackNodePorts: false },
    ],
  ];
  it.each(cases)('writes %s as the golden file says', async (name, rules, given) => {
    const text = wholeText(tableContent(rules, given.bridge), given);
    await expect(text).toMatchFileSnapshot(`testdata/${name}.nft`);
  });

  const changes: [name: string, before: RuleSet, after: RuleSet][] = [
    ['endpoint-moves', rulesOf({}, pods), rulesOf({}, [...pods.slice(0, 2), far])],
    ['endpoint-goes', rulesOf({ ports: [node] }, pods), rulesOf({ ports: [node] }, pods.slice(1))],
    ['last-endpoint-goes', rulesOf({}, pods.slice(2)), rulesOf({}, [])],
    ['service-goes', rulesOf({ ports: [node] }, pods), ruleSet()],
    [
      'affinity-endpoint-goes',
      rulesOf({ sessionAffinity: 'ClientIP' }, pods),
      rulesOf({ sessionAffinity: 'ClientIP' }, pods.slice(1)),
    ],
  ];
  it.each(changes)('changes only what differs: %s', async (name, before, after) => {
    const [old, next] = [before, after].map((rules) => tableContent(rules, options.bridge));
    if (old === undefined || next === undefined) throw new Error('two contents');
    const { text = '', staleChains = [] } = changeText(old, next, 'flotilla') ?? {};
    const stale = staleChains.map((chain) => `# stale: ${chain}\n`).join('');
    await expect(`${text}${stale}`).toMatchFileSnapshot(`testdata/change/${name}.nft`);
  });

  it('keeps the clients that a table knows, for as long as they have yet', () => {
    const content = tableContent(rulesOf({ sessionAffinity: 'ClientIP' }, pods), options.bridge);
    const [set = ''] = content.clientSets.keys();
    const text = wholeText(content, options, [
      { set, address: '192.0.2.1', expiresSeconds: 100.2 },
      { set: 'gone', address: '192.0.2.2', expiresSeconds: 100 },
    ]);
    expect(text).toContain('192.0.2.1 timeout 10800s expires 101s,');
    expect(text).not.toContain('192.0.2.2');
  });

  it('has nothing to say when nothing changed', () => {
    const content = () => tableContent(rulesOf({}, pods), options.bridge);
    expect(changeText(content(), content(), 'flotilla')).toBeUndefined();
  });

  it('takes no address away from the Service that had it first', () => {
    const spec = { ports: [http], externalIPs: ['203.0.113.5'] };
    const [elder, newer] = [
      makeService('b', spec),
      makeService('a', { ...spec, clusterIP: '10.96.0.11' }),
    ];
    elder.metadata.creationTimestamp = '2026-11-28T10:00:00Z';
    newer.metadata.creationTimestamp = '2026-11-29T10:00:00Z';
    const slices = ['a', 'b'].map((name, i) => makeSlice(name, pods.slice(i, 2), httpTarget));
    const content = tableContent(rulesFor([newer, elder], slices), options.bridge);
    expect(content.maps['service-ips'].get('203.0.113.5 . 6 . 80')).toBe('goto ext-pick-1');
    expect(content.problems).toEqual([
      "The address 203.0.113.5:80 of default/a/tcp/80 is default/b/tcp/80's already: only the latter is served.",
    ]);
  });

  it('gives an address that two Services claim to the first of them, and says so', () => {
    const spec = { ports: [http], externalIPs: ['203.0.113.5'] };
    const rules = rulesFor(
      [makeService('b', spec), makeService('a', { ...spec, clusterIP: '10.96.0.11' })],
      ['a', 'b'].map((name, i) => makeSlice(name, pods.slice(i, 2), httpTarget)),
    );
    const content = tableContent(rules, options.bridge);
    expect(content.maps['service-ips'].get('203.0.113.5 . 6 . 80')).toBe('goto ext-pick-2');
    expect(content.problems).toEqual([
      "The address 203.0.113.5:80 of default/b/tcp/80 is default/a/tcp/80's already: only the latter is served.",
    ]);
  });
});
