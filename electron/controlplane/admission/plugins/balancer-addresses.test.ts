import { describe, expect, it } from 'vitest';
import type { KubeObject } from '#kube/api/object.ts';
import { refusal } from '../../../../test/setup/kinds.ts';
import { readerOf, run } from '../testing/attributes.ts';
import { balancerAddresses } from './balancer-addresses.ts';

const node = (name: string) => ({
  metadata: {
    name,
    annotations: { 'flotilla.dev/machine-networks': '172.17.0.0/16,192.168.1.0/24' },
  },
  spec: { podCIDR: '10.244.3.0/24' },
  status: { addresses: [{ type: 'InternalIP', address: '192.168.1.20' }] },
});

const pool = (addresses: string): KubeObject =>
  ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { namespace: 'kube-system', name: 'balancer-addresses' },
    data: { addresses },
  }) as KubeObject;

const plugin = () => balancerAddresses(readerOf({ 'nodes//nuc': node('nuc') }));

async function refused(addresses: string, before?: string): Promise<string> {
  const given = before === undefined ? {} : { oldObject: pool(before) };
  const text = await refusal(
    run(plugin(), {
      object: pool(addresses),
      resource: 'configmaps',
      namespace: 'kube-system',
      name: 'balancer-addresses',
      operation: before === undefined ? 'CREATE' : 'UPDATE',
      ...given,
    } as never),
  );
  return text.split(': ').slice(4).join(': ');
}

describe('a pool of addresses for Services', () => {
  const cases = [
    ['192.168.1.240-192.168.1.250', ''],
    ['172.17.0.0/30', ''],
    ['192.168.1.0/29', '192.168.1.0 means the network itself where nuc is: leave it out'],
    [
      '192.168.1.250-192.168.1.255',
      '192.168.1.255 means all devices of the network where nuc is: leave it out',
    ],
    ['192.168.1.10-192.168.1.30', '192.168.1.20 is the address of nuc'],
    ['10.244.3.200', '10.244.3.0/24 is the network of the pods of nuc'],
  ] as const;
  it.each(cases)('of %s: %s', async (addresses, why) => {
    expect(await refused(addresses)).toBe(why);
  });

  it('that is there already may stay, so that other things of it can be changed', async () => {
    expect(await refused('192.168.1.0/29', '192.168.1.0/29')).toBe('');
    expect(await refused('192.168.1.0/29', '192.168.1.9')).not.toBe('');
  });
});
