import { describe, expect, it } from 'vitest';
import type { Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { Ingress, IngressClass } from '#kube/api/networking.ts';
import { ingressController } from '#kube/machinery/ingress.ts';
import { keptObjects, type IngressObjects } from './kept-objects.ts';
import { routeTable } from './routes.ts';

const classNamed = (name: string, controller: string): IngressClass => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'IngressClass',
  metadata: { name },
  spec: { controller },
});
const ingress = (name: string, spec: Ingress['spec'], more: object = {}): Ingress => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'Ingress',
  metadata: {
    namespace: 'default',
    name,
    uid: name,
    creationTimestamp: '2026-01-01T00:00:00Z',
    ...more,
  },
  spec: { ingressClassName: 'flotilla', ...spec },
});
const to = (name: string) => ({ service: { name, port: { number: 80 } } });
const service = (name: string, more: Partial<Service['spec']> = {}): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: 'default', name, resourceVersion: '7' },
  spec: { ports: [{ name: 'web', port: 80 }], ...more },
});
const slice = (of: string, ...addresses: readonly string[]): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: {
    namespace: 'default',
    name: `${of}-x`,
    labels: { 'kubernetes.io/service-name': of },
    resourceVersion: '9',
    annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': 'now' },
  },
  addressType: 'IPv4',
  ports: [{ name: 'web', port: 8080 }],
  endpoints: addresses.map((address) => ({
    addresses: [address],
    conditions: { ready: address !== '10.244.0.9' },
    nodeName: 'there',
    hints: { forZones: [{ name: 'attic' }] },
  })),
});

const world: IngressObjects = {
  classes: [
    classNamed('theirs', 'k8s.io/ingress-nginx'),
    classNamed('flotilla', ingressController),
  ],
  ingresses: [
    ingress(
      'films',
      {
        defaultBackend: to('fallback'),
        tls: [{ hosts: ['films.local'], secretName: 'own' }],
        rules: [
          {
            host: 'films.local',
            http: {
              paths: [
                { path: '/', pathType: 'Prefix', backend: to('films') },
                { path: '/x', pathType: 'Exact', backend: to('music') },
              ],
            },
          },
        ],
      },
      {
        annotations: {
          'ingress.flotilla.dev/ssl-redirect': 'true',
          'kubectl.kubernetes.io/last-applied-configuration': '{}',
        },
        resourceVersion: '5',
      },
    ),
    ingress('foreign', { ingressClassName: 'theirs', defaultBackend: to('other') }),
  ],
  services: [
    service('music', { sessionAffinity: 'ClientIP' }),
    service('films'),
    service('fallback', { internalTrafficPolicy: 'Local' }),
    service('other'),
  ],
  endpointSlices: [
    slice('films', '10.244.0.9', '10.244.0.5'),
    slice('music', '10.244.0.6'),
    slice('fallback', '10.244.0.7'),
    slice('other', '10.244.0.8'),
  ],
};

const asFile = (objects: IngressObjects): IngressObjects =>
  JSON.parse(JSON.stringify(keptObjects(objects))) as IngressObjects;

describe('the objects that are kept', () => {
  it('make the same routes as all of them', () => {
    for (const place of [
      { nodeName: 'there', zone: 'attic' },
      { nodeName: 'here', zone: '' },
    ]) {
      const table = (objects: IngressObjects) => routeTable({ ...objects, place });
      expect(table(asFile(world))).toEqual(table(world));
      expect(table(world).hosts.get('films.local')?.length).toBe(2);
    }
  });

  it('are no one else’s, and nothing that routes don’t depend on', () => {
    const text = JSON.stringify(keptObjects(world));
    for (const foreign of ['other', 'theirs', 'last-applied', 'resourceVersion', 'trigger-time'])
      expect(text).not.toContain(foreign);
  });

  it('are the same whatever order they come in, and whichever version they have', () => {
    const other: IngressObjects = {
      classes: world.classes.toReversed(),
      ingresses: world.ingresses.toReversed(),
      services: world.services.toReversed(),
      endpointSlices: world.endpointSlices.toReversed().map((one) => ({
        ...one,
        metadata: { ...one.metadata, resourceVersion: '1000' },
        endpoints: (one.endpoints ?? []).toReversed(),
      })),
    };
    expect(JSON.stringify(keptObjects(other))).toBe(JSON.stringify(keptObjects(world)));
  });
});
