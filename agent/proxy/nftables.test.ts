import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Service } from '#kube/api/core.ts';
import type { Endpoint, EndpointSlice } from '#kube/api/discovery.ts';
import { isWithin } from './addresses.ts';
import { changeText, wholeText, type NftablesOptions } from './nftables.ts';
import { proxyRules } from './rules.ts';
import { tableContent, type TableContent } from './table-content.ts';
import { NftTable, type Packet, type World } from './testing/nft-table.ts';
import { http, httpTarget, makeService, makeSlice, place } from './testing/services.ts';

const bridge = 'flt-1';
const options: NftablesOptions = {
  table: 't',
  bridge,
  serviceCidr: '10.96.0.0/16',
  loopbackNodePorts: true,
  bridgeNetfilter: true,
};
const local = ['192.168.1.5', '10.244.0.1', '127.0.0.1'];
const protocolNumbers = { TCP: 6, UDP: 17, SCTP: 132 };

interface End {
  readonly host: number;
  readonly node: 'here' | 'there' | undefined;
  readonly state: 'ready' | 'unready' | 'ending' | 'ended';
  readonly zone: string | undefined;
  readonly hintedNode: string | undefined;
}

/** A Service as somebody would describe it; its number is in all its addresses. */
interface Wish {
  readonly number: number;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly isExternalLocal: boolean;
  readonly isInternalLocal: boolean;
  readonly hasAffinity: boolean;
  readonly ranges: readonly string[];
  readonly ends: readonly End[];
}

const anyEnd: fc.Arbitrary<End> = fc.record({
  host: fc.integer({ min: 2, max: 9 }),
  node: fc.constantFrom('here', 'there', undefined),
  state: fc.constantFrom('ready', 'ready', 'unready', 'ending', 'ended'),
  zone: fc.constantFrom(undefined, 'attic', 'cellar'),
  hintedNode: fc.constantFrom(undefined, undefined, 'here', 'there'),
});
const anyWish: fc.Arbitrary<Wish> = fc.record({
  number: fc.integer({ min: 2, max: 9 }),
  protocol: fc.constantFrom('TCP', 'UDP', 'SCTP'),
  isExternalLocal: fc.boolean(),
  isInternalLocal: fc.boolean(),
  hasAffinity: fc.boolean(),
  ranges: fc.subarray(['192.168.1.0/24', '192.168.0.0/16', '10.0.0.0/8', '192.168.1.77/32']),
  ends: fc.uniqueArray(anyEnd, { maxLength: 6, selector: addressOf }),
});
const anyWishes = fc.uniqueArray(anyWish, { maxLength: 5, selector: ({ number }) => number });

function addressOf({ host, node }: End): string {
  return `10.244.${node === 'there' ? 1 : 0}.${host}`;
}

function serviceOf(wish: Wish): Service {
  const { number, protocol, isExternalLocal, isInternalLocal, hasAffinity } = wish;
  return makeService(
    `s${number}`,
    {
      type: 'LoadBalancer',
      clusterIP: `10.96.0.${number}`,
      externalIPs: [`203.0.113.${number}`],
      loadBalancerSourceRanges: [...wish.ranges],
      ports: [{ ...http, protocol, nodePort: 30_000 + number }],
      externalTrafficPolicy: isExternalLocal ? 'Local' : 'Cluster',
      internalTrafficPolicy: isInternalLocal ? 'Local' : 'Cluster',
      sessionAffinity: hasAffinity ? 'ClientIP' : 'None',
    },
    `198.51.100.${number}`,
  );
}

function sliceOf({ number, ends }: Wish): EndpointSlice {
  const endpoints = ends.map((end): Endpoint => {
    const { node, state, zone, hintedNode } = end;
    return {
      addresses: [addressOf(end)],
      ...(node !== undefined && { nodeName: node }),
      conditions: {
        ready: state === 'ready',
        serving: state === 'ready' || state === 'ending',
        terminating: state === 'ending' || state === 'ended',
      },
      hints: {
        ...(zone !== undefined && { forZones: [{ name: zone }] }),
        ...(hintedNode !== undefined && { forNodes: [{ name: hintedNode }] }),
      },
    };
  });
  return makeSlice(`s${number}`, endpoints, httpTarget);
}

function contentOf(wishes: readonly Wish[]): TableContent {
  const services = wishes.map(serviceOf);
  const rules = proxyRules({ services, endpointSlices: wishes.map(sliceOf), ...place });
  return tableContent(rules, bridge);
}

function load(content: TableContent): NftTable {
  const table = new NftTable();
  table.load(wholeText(content, options));
  return table;
}

type Door = 'cluster' | 'external' | 'balancer' | 'nodePort';
type Caller = 'host' | 'pod' | 'lan' | 'stranger';
const callers: Record<Caller, Pick<Packet, 'from' | 'iif'>> = {
  host: { from: '192.168.1.5' },
  pod: { from: '10.244.0.3', iif: bridge },
  lan: { from: '192.168.1.77', iif: 'eth0' },
  stranger: { from: '172.16.0.9', iif: 'eth0' },
};
const anyCall = fc.record({
  index: fc.nat(),
  door: fc.constantFrom<Door>('cluster', 'external', 'balancer', 'nodePort'),
  caller: fc.constantFrom<Caller>('host', 'pod', 'lan', 'stranger'),
  dice: fc.double({ min: 0, max: 0.999_999, noNaN: true }),
});

function packetFor(wish: Wish, door: Door, caller: Caller): Packet {
  const addresses: Record<Door, string> = {
    cluster: `10.96.0.${wish.number}`,
    external: `203.0.113.${wish.number}`,
    balancer: `198.51.100.${wish.number}`,
    nodePort: '192.168.1.5',
  };
  const port = door === 'nodePort' ? 30_000 + wish.number : 80;
  const protocol = protocolNumbers[wish.protocol];
  return { ...callers[caller], to: addresses[door], protocol, port };
}

/** What Kubernetes says of it, told apart from rules.ts. */
function expected(wish: Wish, door: Door, caller: Caller): 'dropped' | 'refused' | string[] {
  const isIn = (end: End, ...states: End['state'][]): boolean => states.includes(end.state);
  const isForbidden =
    door === 'balancer' &&
    wish.ranges.length > 0 &&
    ![...wish.ranges].some((range) => isWithin(callers[caller].from, range));
  if (isForbidden) return 'dropped';
  const ready = wish.ends.filter((end) => isIn(end, 'ready'));
  const nodeHinted = ready.filter(({ hintedNode }) => hintedNode === 'here');
  const zoneHinted = ready.filter(({ zone }) => zone === 'attic');
  const byNode = ready.every(({ hintedNode }) => hintedNode !== undefined) ? nodeHinted : [];
  const byZone = ready.every(({ zone }) => zone !== undefined) ? zoneHinted : [];
  const anywhere =
    [byNode, byZone, ready].find((ends) => ends.length > 0) ??
    wish.ends.filter((end) => isIn(end, 'ending'));
  const here = wish.ends.filter(({ node }) => node === 'here');
  const hereReady = here.filter((end) => isIn(end, 'ready'));
  const onlyHere = hereReady.length > 0 ? hereReady : here.filter((end) => isIn(end, 'ending'));
  const isInside = caller === 'host' || caller === 'pod';
  const isLocal = door === 'cluster' ? wish.isInternalLocal : wish.isExternalLocal && !isInside;
  const ends = isLocal ? onlyHere : anywhere;
  if (ends.length > 0) return ends.map(addressOf).toSorted();
  return wish.ends.some((end) => isIn(end, 'ready', 'ending')) ? 'dropped' : 'refused';
}

describe('the rules, run by an interpreter', () => {
  const oif = (address: string): string =>
    local.includes(address) ? 'lo' : address.startsWith('10.244.0.') ? bridge : 'eth0';

  it('send each packet where the Service says, by every endpoint and no other', () => {
    fc.assert(
      fc.property(anyWishes, fc.array(anyCall, { maxLength: 12 }), (wishes, calls) => {
        const table = load(contentOf(wishes));
        for (const { index, door, caller, dice } of calls) {
          const wish = wishes[index % wishes.length];
          if (wish === undefined) continue;
          const want = expected(wish, door, caller);
          const packet = packetFor(wish, door, caller);
          const world: World = { local, oif, random: () => dice };
          const fate = table.send(packet, world);
          if (typeof want === 'string') {
            expect(fate).toEqual({ kind: want });
            continue;
          }
          const end = fate.kind === 'sent' ? fate.to : fate.kind;
          expect(want).toContain(end);
          const isNew = !wish.hasAffinity;
          // The lot decides, and it decides among all.
          if (isNew && door !== 'cluster' && !wish.isExternalLocal)
            expect(end).toBe(inOrder(want)[Math.floor(dice * want.length)]);
          const isFar = !end.startsWith('10.244.0.');
          const isShortCut = wish.isExternalLocal && caller === 'pod' && door !== 'cluster';
          const comesBack =
            caller === 'pod' && (door === 'cluster' || isShortCut) && end !== packet.from;
          expect(fate).toMatchObject({
            port: 8080,
            isTranslated: true,
            isMasqueraded: end === packet.from || (isFar && !comesBack),
          });
        }
      }),
    );
  });

  it('keep a client at its endpoint for as long as that is one', () => {
    fc.assert(
      fc.property(
        anyWish,
        fc.array(fc.double({ min: 0, max: 0.99, noNaN: true })),
        (wish, dice) => {
          const table = load(contentOf([{ ...wish, hasAffinity: true, ranges: [] }]));
          const seen = new Set<string>();
          for (const lot of dice)
            for (const door of ['external', 'balancer', 'nodePort'] as const) {
              const world: World = { local, oif, random: () => lot };
              const fate = table.send(packetFor(wish, door, 'lan'), world);
              if (fate.kind === 'sent') seen.add(fate.to);
            }
          expect(seen.size).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  it('are after any changes what they would be if written anew', () => {
    fc.assert(
      fc.property(fc.array(anyWishes, { minLength: 2, maxLength: 5 }), ([first, ...next]) => {
        let before = contentOf(first ?? []);
        const table = load(before);
        let stale: readonly string[] = [];
        for (const wishes of next) {
          const after = contentOf(wishes);
          const change = changeText(before, after, 't', stale);
          if (change !== undefined) {
            table.load(change.text);
            stale = change.staleChains;
          }
          before = after;
          expect(table.listing()).toBe(load(after).listing());
        }
      }),
    );
  });

  it('refuse what no Service has, and let everything else pass untouched', () => {
    const table = load(contentOf([]));
    const world: World = { local, oif, random: () => 0 };
    const pod = { from: '10.244.0.3', iif: bridge, protocol: 6 };
    expect(table.send({ ...pod, to: '10.96.7.7', port: 80 }, world)).toEqual({ kind: 'refused' });
    expect(table.send({ ...pod, to: '1.2.3.4', port: 80 }, world)).toMatchObject({
      kind: 'sent',
      to: '1.2.3.4',
      isTranslated: false,
      isMasqueraded: false,
    });
    // route_localnet is open on the bridge: for answers only.
    expect(table.send({ ...pod, to: '127.0.0.1', port: 22 }, world)).toEqual({ kind: 'dropped' });
  });

  it('lead at a balancer’s own address to its Service only, and at bridges to no node port', () => {
    const spec = { ports: [{ ...http, nodePort: 30_001 }], type: 'LoadBalancer' };
    const ends = [{ addresses: ['10.244.0.7'], nodeName: 'here' }];
    const rules = proxyRules({
      services: [makeService('web', spec, '192.168.1.240')],
      endpointSlices: [makeSlice('web', ends, httpTarget)],
      ...place,
      bridgeAddresses: ['172.17.0.1', '192.168.1.5'],
    });
    const table = load(tableContent(rules, bridge));
    const world: World = {
      local: [...local, '192.168.1.240', '172.17.0.1'],
      oif,
      random: () => 0,
    };
    const fate = (to: string, port: number): string => {
      const found = table.send({ ...callers.lan, to, port, protocol: 6 }, world);
      return found.kind === 'sent' ? found.to : found.kind;
    };
    expect([
      fate('192.168.1.240', 80),
      fate('192.168.1.240', 22),
      fate('192.168.1.240', 30_001),
      fate('192.168.1.5', 22),
      fate('192.168.1.5', 30_001),
      fate('172.17.0.1', 30_001),
    ]).toEqual(['10.244.0.7', 'refused', 'refused', '192.168.1.5', '10.244.0.7', '172.17.0.1']);
  });
});

function inOrder(addresses: readonly string[]): string[] {
  const weight = (address: string): number =>
    address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  return addresses.toSorted((a, b) => weight(a) - weight(b));
}
