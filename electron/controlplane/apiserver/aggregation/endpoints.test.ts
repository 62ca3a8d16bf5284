import { describe, expect, it } from 'vitest';
import type { Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { remoteOf } from './api-services.ts';
import { serviceAddresses } from './endpoints.ts';

const metadata = { name: 'harbour', namespace: 'default' };
const service: Service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata,
  spec: { ports: [{ name: 'https', port: 443 }] },
};
const slice = {
  ports: [{ name: 'https', port: 8443 }],
  endpoints: [
    { addresses: ['10.0.0.1'], nodeName: 'pi', targetRef: { kind: 'Pod', name: 'a' } },
    { addresses: ['10.0.0.2'], nodeName: 'pi', conditions: { ready: false } },
    { addresses: ['192.168.0.9'] },
  ],
} as EndpointSlice;

describe('where a server behind this one listens', () => {
  const pod = { namespace: 'default', pod: 'a', nodeName: 'pi', port: 8443 };

  it('is at each endpoint that is ready: a pod by its node, anything else by its address', () => {
    expect(serviceAddresses(service, 443, [slice])).toEqual([
      { host: '10.0.0.1', port: 8443, pod },
      { host: '192.168.0.9', port: 8443 },
    ]);
  });

  it('is nowhere at a port that the service has not', () => {
    expect(serviceAddresses(service, 80, [slice])).toEqual([]);
    expect(serviceAddresses(service, 443, [{ ...slice, ports: [{ name: 'x', port: 1 }] }])).toEqual(
      [],
    );
  });

  it('is where a name outside of the cluster leads', () => {
    const external = {
      ...service,
      spec: { type: 'ExternalName', externalName: 'sea.example.com' },
    };
    expect(serviceAddresses(external, 443, [])).toEqual([{ host: 'sea.example.com', port: 443 }]);
  });
});

it('the core group is never given away', () => {
  const spec = { version: 'v1', groupPriorityMinimum: 1, versionPriority: 1 };
  const to = { service: { namespace: 'default', name: 'harbour' } };
  const apiService = (group: string) => ({
    apiVersion: 'apiregistration.k8s.io/v1' as const,
    kind: 'APIService' as const,
    metadata: { name: 'x' },
    spec: { ...spec, ...to, group },
  });
  expect(remoteOf(apiService(''))).toBeUndefined();
  expect(remoteOf(apiService('sea.example.com'))).toMatchObject({ group: 'sea.example.com' });
});
