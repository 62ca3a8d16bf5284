import { expect, it } from 'vitest';
import { nodeAddresses } from './node-addresses.ts';

const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'pi' }, spec: {} } as const;

it('gives a node’s addresses, those of the home network first', () => {
  const addresses = [
    { type: 'Hostname', address: 'pi' },
    { type: 'InternalDNS', address: 'pi.lan' },
    { type: 'ExternalIP', address: '1.2.3.4' },
    { type: 'InternalIP', address: '10.0.0.2' },
    { type: 'InternalIP', address: 'fd00::2' },
  ];
  const want = ['10.0.0.2', 'fd00::2', '1.2.3.4', 'pi'];
  expect(nodeAddresses({ ...node, status: { addresses } })).toEqual(want);
  expect(nodeAddresses(node)).toEqual([]);
});
