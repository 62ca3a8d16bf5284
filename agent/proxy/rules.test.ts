import { describe, expect, it } from 'vitest';
import type { Service, ServicePort, ServiceSpec } from '#kube/api/core.ts';
import type { Endpoint, EndpointSlice } from '#kube/api/discovery.ts';
import { affinityTable, nftablesText, type NftablesOptions } from './nftables.ts';
import { proxyRules, type RuleSet } from './rules.ts';

function service(name: string, spec: Partial<ServiceSpec>): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'default', name },
    spec: { clusterIP: '10.96.0.10', ...spec },
  };
}

function slice(name: string, endpoints: Endpoint[], ports: EndpointSlice['ports']): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    addressType: 'IPv4',
    metadata: {
      namespace: 'default',
      name: `${name}-1`,
      labels: { 'kubernetes.io/service-name': name },
    },
    endpoints,
    ports,
  };
}

const here = { nodeName: 'here', conditions: { ready: true, serving: true } };
const there = { ...here, nodeName: 'there' };
const leaving = { ...here, conditions: { ready: false, serving: true, terminating: true } };
const http: ServicePort = { name: 'http', port: 80, protocol: 'TCP' };
const httpTarget = [{ name: 'http', port: 8080, protocol: 'TCP' }];

function rulesOf(spec: Partial<ServiceSpec>, endpoints: Endpoint[]): RuleSet {
  return proxyRules({
    services: [service('web', { ports: [http], ...spec })],
    endpointSlices: [slice('web', endpoints, httpTarget)],
    nodeName: 'here',
  });
}

describe('proxyRules', () => {
  const a = { ...here, addresses: ['10.244.0.2'] };
  const b = { ...there, addresses: ['10.244.1.2'] };
  const unready = { ...here, addresses: ['10.244.0.3'], conditions: { ready: false } };
  const dying = { ...leaving, addresses: ['10.244.0.4'] };
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
    const rules = proxyRules({
      services: [service('web', { ports: [http, dns] })],
      endpointSlices: [
        slice('web', [a], [...httpTarget, { name: 'dns', port: 5353, protocol: 'UDP' }]),
        slice('web', [b], httpTarget),
        slice('other', [{ ...here, addresses: ['10.244.0.9'] }], httpTarget),
      ],
      nodeName: 'here',
    });
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

  it('does not depend on the order of what it is given', () => {
    expect(rulesOf({}, [b, a])).toEqual(rulesOf({}, [a, b]));
  });
});

describe('nftablesText', () => {
  const options: NftablesOptions = {
    table: 'flotilla',
    bridge: 'flt-1',
    serviceCidr: '10.96.0.0/16',
    loopbackNodePorts: true,
    bridgeNetfilter: true,
  };
  const pods = [2, 3, 4].map((n) => ({ ...here, addresses: [`10.244.0.${n}`] }));
  const node = { ...http, nodePort: 30080 };
  const cases: [name: string, rules: RuleSet, options: NftablesOptions][] = [
    ['empty', { ports: [] }, options],
    ['cluster-ip', rulesOf({}, pods), options],
    ['node-port', rulesOf({ ports: [node], externalIPs: ['203.0.113.5'] }, pods), options],
    ['one-endpoint', rulesOf({ ports: [node] }, pods.slice(1, 2)), options],
    ['no-endpoints', rulesOf({ ports: [node] }, []), options],
    [
      'external-local',
      rulesOf({ ports: [node], externalTrafficPolicy: 'Local' }, [
        { ...there, addresses: ['10.244.1.2'] },
      ]),
      options,
    ],
    ['affinity', rulesOf({ sessionAffinity: 'ClientIP' }, pods.slice(1)), options],
    [
      'plain-bridge',
      rulesOf({ ports: [node] }, pods),
      { ...options, bridgeNetfilter: false, loopbackNodePorts: false },
    ],
  ];
  it.each(cases)('writes %s as the golden file says', async (name, rules, given) => {
    await expect(nftablesText(rules, given)).toMatchFileSnapshot(`testdata/${name}.nft`);
  });
});

describe('nftablesText with bad luck', () => {
  it('gives an address that two Services claim to the first of them', () => {
    const spec = { ports: [http], externalIPs: ['203.0.113.5'] };
    const rules = proxyRules({
      services: [service('b', spec), service('a', { ...spec, clusterIP: '10.96.0.11' })],
      endpointSlices: ['a', 'b'].map((name) =>
        slice(name, [{ ...here, addresses: ['10.244.0.2'] }], httpTarget),
      ),
      nodeName: 'here',
    });
    const options = { table: 't', bridge: 'b', serviceCidr: '10.96.0.0/16' };
    const text = nftablesText(rules, {
      ...options,
      loopbackNodePorts: true,
      bridgeNetfilter: true,
    });
    const claims = text.split('\n').filter((line) => line.includes('203.0.113.5'));
    expect(claims).toEqual([expect.stringMatching(/goto ext-[0-9a-f]{8}-default\/a\/tcp\/80,$/)]);
  });
});

describe('affinityTable', () => {
  const endpoints = [1, 2, 3, 4].map((n) => ({ address: `10.244.0.${n}`, port: 80 }));

  it('moves only the clients of the endpoint that goes', () => {
    const before = affinityTable(endpoints);
    const after = affinityTable(endpoints.slice(0, 3));
    const moved = before.filter((endpoint, slot) => after[slot] !== endpoint);
    expect(new Set(moved)).toEqual(new Set([endpoints[3]]));
  });

  it('gives every endpoint a fair share of the slots', () => {
    const table = affinityTable(endpoints);
    const shares = endpoints.map((endpoint) => table.filter((slot) => slot === endpoint).length);
    expect(Math.min(...shares)).toBeGreaterThanOrEqual(8);
  });
});
