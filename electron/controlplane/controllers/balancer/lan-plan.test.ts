import { expect, it } from 'vitest';
import type { Node, Service } from '#kube/api/core.ts';
import { parseAddressPool } from '#kube/machinery/address-pool.ts';
import { balancerClasses, lanAddress, portsAnnotation } from '#kube/machinery/balancers.ts';
import { podNetworkAnnotations } from '#kube/machinery/pod-networks.ts';
import { planBalancer } from './plan.ts';

interface NodeGiven {
  readonly ready?: string;
  readonly networks?: string;
  readonly held?: string;
  readonly taken?: string;
}

function node(name: string, address: string, given: NodeGiven = {}): Node {
  const { ready = 'True', networks = '192.168.1.0/24,10.0.0.0/8', held = '', taken } = given;
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      annotations: {
        [podNetworkAnnotations.machineNetworks]: networks,
        [portsAnnotation]: '80/tcp free',
        [lanAddress.held]: held,
        ...(taken !== undefined && { [lanAddress.taken]: taken }),
      },
    },
    spec: {},
    status: {
      addresses: [{ type: 'InternalIP', address }],
      conditions: [{ type: 'Ready', status: ready }],
    },
  };
}

interface ServiceGiven {
  readonly spec?: Partial<Service['spec']>;
  readonly address?: string;
  readonly on?: string;
  readonly served?: string;
  readonly second?: number;
}

function service(name: string, given: ServiceGiven = {}): Service {
  const { spec, address, on, served, second = 0 } = given;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      namespace: 'default',
      name,
      creationTimestamp: `2026-01-01T00:00:0${second}Z`,
      annotations: {
        ...(address !== undefined && { [lanAddress.address]: address }),
        ...(on !== undefined && { [lanAddress.node]: on }),
      },
    },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }], ...spec },
    status: { loadBalancer: served === undefined ? {} : { ingress: [{ ip: served }] } },
  };
}

const nas = node('nas', '192.168.1.2');
const pc = node('pc', '192.168.1.3');
const first = '192.168.1.240';
const unable = node('old', '192.168.1.4');
delete unable.metadata.annotations?.[lanAddress.held];

interface World {
  readonly services?: readonly Service[];
  readonly nodes?: readonly Node[];
  readonly pool?: string | undefined;
  readonly given?: ReadonlyMap<string, string>;
}

/** `address node served; why` */
function planned(one: Service, world: World = {}): string {
  const { services = [], nodes = [nas, pc], given = new Map<string, string>() } = world;
  const text = 'pool' in world ? world.pool : '192.168.1.240-192.168.1.242';
  const pool = text === undefined ? undefined : parseAddressPool(text);
  const plan = planBalancer(one, { services: [one, ...services], nodes, slices: [], pool, given });
  const { lan, ingress, refusals } = plan;
  const where = lan === undefined ? 'none' : `${lan.address} ${lan.node ?? 'nobody'}`;
  const served = ingress.map(({ ip }) => ip).join();
  return [where, served === '' ? 'waits' : `at ${served}`, ...refusals.map((r) => r.text)].join(
    '; ',
  );
}

it('gives the first address that is free, and says it once a machine has it', () => {
  expect(planned(service('a'))).toBe(`${first} nas; waits`);
  const holding = node('pc', '192.168.1.3', { held: `${first} 02:00:00:00:00:03` });
  const has = { address: first, on: 'pc' };
  expect(planned(service('a', has), { nodes: [nas, holding] })).toBe(`${first} pc; at ${first}`);
  const other = service('b', { address: first });
  expect(planned(service('a'), { services: [other] })).toBe('192.168.1.241 pc; waits');
  // The cache does not show yet what the other was given a moment ago.
  const given = new Map([['default/b', first]]);
  expect(planned(service('a'), { services: [service('b')], given })).toBe(
    '192.168.1.241 pc; waits',
  );
});

it('keeps address and machine; another takes over when that one is not ready, and is told meanwhile', () => {
  const has = { address: '192.168.1.242', on: 'nas', served: '192.168.1.242' };
  expect(planned(service('a', has))).toBe('192.168.1.242 nas; at 192.168.1.242');
  const away = node('nas', '192.168.1.2', { ready: 'Unknown' });
  expect(planned(service('a', has), { nodes: [away, pc] })).toBe(
    '192.168.1.242 pc; at 192.168.1.242',
  );
  expect(planned(service('a', has), { nodes: [away] })).toBe(
    '192.168.1.242 nobody; waits; no machine that could answer for 192.168.1.242 is in its network and ready',
  );
});

it('leaves out what somebody else answered for, but for the machine that had it', () => {
  const asked = node('pc', '192.168.1.3', { taken: `${first} de:ad:be:ef:00:01` });
  const has = { address: first, on: 'pc' };
  const why = `${first} has somebody else: de:ad:be:ef:00:01 answered when pc asked for it`;
  expect(planned(service('a', has), { nodes: [nas, asked] })).toBe(
    `192.168.1.241 pc; waits; ${why}`,
  );
  expect(planned(service('a', has), { nodes: [nas, asked], pool: first })).toBe(
    `none; waits; ${why}`,
  );
  const before = node('nas', '192.168.1.2', { ready: 'False', held: `${first} de:ad:be:ef:00:01` });
  expect(planned(service('a', has), { nodes: [before, asked] })).toBe(`${first} pc; waits`);
});

it('of two that want one address the older has it', () => {
  const spec = { loadBalancerIP: first };
  const older = service('old', { spec, second: 1 });
  const younger = service('new', { spec, second: 2 });
  expect(planned(older, { services: [younger] })).toBe(`${first} nas; waits`);
  expect(planned(younger, { services: [older] })).toBe(
    `none; waits; ${first} is Service default/old's already`,
  );
});

const refusals: readonly { name: string; one: Service; world?: World; want: string }[] = [
  {
    name: 'an address that is wanted and not in the pool',
    one: service('a', { spec: { loadBalancerIP: '192.168.1.9' } }),
    want: 'none; waits; spec.loadBalancerIP: 192.168.1.9 is not in the pool 192.168.1.240-192.168.1.242',
  },
  {
    name: 'a class that needs a pool where there is none',
    one: service('a', { spec: { loadBalancerClass: balancerClasses.lan } }),
    world: { pool: undefined },
    want: 'none; waits; no addresses are left to Services: kubectl -n kube-system create configmap balancer-addresses --from-literal=addresses=FIRST-LAST',
  },
  {
    name: 'a pool that can’t be read',
    one: service('a'),
    world: { pool: 'x' },
    want: 'none; waits; the ConfigMap kube-system/balancer-addresses: addresses "x" is no IPv4 address, range (192.168.1.240-192.168.1.250) or network (192.168.1.240/29)',
  },
  {
    name: 'a pool of another network, also one that is only routed to',
    one: service('a'),
    world: { pool: '10.1.2.3' },
    want: 'none; waits; no machine that can answer for them is in the network of 10.1.2.3',
  },
  {
    name: 'an address that a machine has',
    one: service('a'),
    world: { pool: '192.168.1.3' },
    want: "none; waits; 192.168.1.3 is the machine pc's",
  },
  {
    name: 'what no machine’s agent can do, as without root',
    one: service('a'),
    world: { nodes: [unable] },
    want: 'none; waits; no machine that can answer for them is in the network of 192.168.1.240-192.168.1.242',
  },
  {
    name: 'what is the network itself, or all of it',
    one: service('a'),
    world: { pool: '192.168.1.0, 192.168.1.255' },
    want: 'none; waits; no machine that can answer for them is in the network of 192.168.1.0, 192.168.1.255',
  },
];
it.each(refusals)('refuses $name', ({ one, world = {}, want }) => {
  expect(planned(one, world)).toBe(want);
});

it('the class of machines’ addresses is theirs with a pool, too', () => {
  const spec = { loadBalancerClass: balancerClasses.nodes };
  expect(planned(service('a', { spec }))).toBe('none; at 192.168.1.2,192.168.1.3');
  const wanted = { ...spec, loadBalancerIP: '192.168.1.3' };
  expect(planned(service('a', { spec: wanted }))).toBe('none; at 192.168.1.3');
  expect(planned(service('a', { spec: { ...spec, loadBalancerIP: '10.9.9.9' } }))).toBe(
    'none; waits; spec.loadBalancerIP: no machine has the address 10.9.9.9, and it is not in a pool of addresses',
  );
});
