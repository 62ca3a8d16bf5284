import { describe, expect, it } from 'vitest';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { inOrder, nobodyKnown, remembered, serversOf } from './server-list.ts';

function slice(
  name: string,
  {
    port = 7443,
    addresses,
    ready = true,
    namespace = 'default',
    service = 'kubernetes',
  }: {
    readonly port?: number;
    readonly addresses: readonly string[];
    readonly ready?: boolean;
    readonly namespace?: string;
    readonly service?: string;
  },
): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace, labels: { 'kubernetes.io/service-name': service } },
    addressType: 'IPv4',
    endpoints: addresses.map((one) => ({ addresses: [one], conditions: { ready } })),
    ports: [{ name: 'https', port, protocol: 'TCP' }],
  };
}

describe('the API servers that an agent knows', () => {
  it('are the endpoints of default/kubernetes that are ready, and of no other Service', () => {
    const slices = [
      slice('kubernetes', { addresses: ['10.0.0.2', '10.0.0.1'] }),
      slice('kubernetes-7444', { addresses: ['10.0.0.3'], port: 7444 }),
      slice('gone', { addresses: ['10.0.0.4'], ready: false }),
      slice('elsewhere', { addresses: ['10.0.0.5'], namespace: 'games' }),
      slice('other', { addresses: ['10.0.0.6'], service: 'web' }),
    ];
    expect(serversOf(slices)).toEqual([
      'https://10.0.0.1:7443',
      'https://10.0.0.2:7443',
      'https://10.0.0.3:7444',
    ]);
  });

  it('and those of before, the latest first, at most eight', () => {
    let known = remembered(nobodyKnown, ['https://a:1', 'https://b:1']);
    known = remembered(known, ['https://b:1']);
    expect(known).toEqual({ present: ['https://b:1'], former: ['https://a:1'] });
    for (let i = 0; i < 12; i++) known = remembered(known, [`https://c${i}:1`]);
    expect(known.former).toHaveLength(8);
    expect(known.former[0]).toBe('https://c10:1');
    const back = remembered(known, ['https://c10:1']);
    expect(back.former.slice(0, 2)).toEqual(['https://c11:1', 'https://c9:1']);
  });

  it('stay as they are when none is told of, or the same', () => {
    const known = remembered(nobodyKnown, ['https://a:1']);
    expect([remembered(known, []), remembered(known, ['https://a:1'])]).toEqual([known, known]);
    expect(remembered(known, [])).toBe(known);
  });

  const given = 'https://10.0.0.9:7443';
  const present = ['https://10.0.0.1:7443', 'https://10.0.0.2:7443', 'https://10.0.0.3:7443'];
  const at = (nodeName: string, own: string[] = [], by = given) => ({
    nodeName,
    given: by,
    ownAddresses: new Set(own),
  });

  it('are tried: those that serve now, by which it was added, of before', () => {
    const { servers, own } = inOrder({ present, former: ['https://10.0.0.8:7443'] }, at('pi'));
    expect([servers.slice(0, 3).toSorted(), servers.slice(3), own]).toEqual([
      present,
      [given, 'https://10.0.0.8:7443'],
      undefined,
    ]);
  });

  it('each node begins with another, and always with the same', () => {
    const first = (name: string) => inOrder({ present, former: [] }, at(name)).servers[0];
    const names = Array.from({ length: 30 }, (_, i) => `node-${i}`);
    expect(names.map(first)).toEqual(names.map(first));
    for (const server of present)
      expect(names.filter((name) => first(name) === server).length).toBeGreaterThan(3);
  });

  it("the one on this machine comes first, and loopback is the same as the machine's address", () => {
    const known = { present, former: [] };
    expect(inOrder(known, at('pi', ['10.0.0.3']))).toMatchObject({
      own: 'https://10.0.0.3:7443',
      servers: expect.arrayContaining([...present, given]),
    });
    expect(inOrder(known, at('pi', ['10.0.0.3'])).servers[0]).toBe('https://10.0.0.3:7443');
    const loopback = 'https://127.0.0.1:7443';
    const laptop = inOrder(known, at('laptop', ['127.0.0.1', '10.0.0.2'], loopback));
    expect([laptop.own, laptop.servers[0]]).toEqual([loopback, loopback]);
    expect(laptop.servers.slice(1).toSorted()).toEqual([
      'https://10.0.0.1:7443',
      'https://10.0.0.3:7443',
    ]);
  });
});
