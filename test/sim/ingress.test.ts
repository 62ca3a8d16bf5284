// Ingresses against the real API server and its controllers: their class, and where they are served.
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Ingress } from '#kube/api/networking.ts';
import {
  events,
  ingressClasses,
  ingresses,
  nodes,
  secrets,
  services,
} from '#kube/client/resources.ts';
import { seededRandom } from '#kube/base/random.ts';
import { ingressClassName, ingressController, ingressNode } from '#kube/machinery/ingress.ts';
import { issueCertificate, makeKey } from '#platform/certificate.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
  await sim.client.create(ingressClasses, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IngressClass',
    metadata: {
      name: ingressClassName,
      annotations: { 'ingressclass.kubernetes.io/is-default-class': 'true' },
    },
    spec: { controller: ingressController },
  });
});
afterEach(() => sim.stop());

const backend = { service: { name: 'app', port: { number: 80 } } };

async function createIngress(name: string, spec: Ingress['spec']): Promise<void> {
  await sim.client.create(ingresses, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { namespace: 'default', name },
    spec,
  });
}

async function addressesOf(name: string): Promise<string[]> {
  await sim.settle();
  const { status } = await sim.client.get(ingresses, { namespace: 'default', name });
  return (status?.loadBalancer?.ingress ?? []).map(({ ip = '', ports = [] }) =>
    [ip, ...ports.map(({ port, protocol }) => `${port}/${protocol}`)].join(' '),
  );
}

async function addServingNode(
  name: string,
  address: string,
  ports = 'http 80; https 443',
): Promise<void> {
  await sim.addNode(name, { status: { addresses: [{ type: 'InternalIP', address }] } });
  const annotations = { [ingressNode.portsAnnotation]: ports };
  await sim.client.patch(nodes, { name }, { metadata: { annotations } });
}

it('an Ingress of no class is ours, and is served by the nodes that say so and are ready', async () => {
  await createIngress('home', { defaultBackend: backend });
  expect(await addressesOf('home')).toEqual([]);
  await addServingNode('b', '192.168.1.2');
  await addServingNode('a', '192.168.1.1');
  await addServingNode('c', '192.168.1.3', '');
  expect(await addressesOf('home')).toEqual(['192.168.1.1 80/TCP', '192.168.1.2 80/TCP']);
  const annotations = { [ingressNode.portsAnnotation]: null };
  await sim.client.patch(nodes, { name: 'a' }, { metadata: { annotations } });
  expect(await addressesOf('home')).toEqual(['192.168.1.2 80/TCP']);
  const conditions = [{ type: 'Ready', status: 'Unknown' }];
  const status = { subresource: 'status' };
  await sim.client.patch(nodes, { name: 'b' }, { status: { conditions } }, status);
  expect(await addressesOf('home')).toEqual([]);
});

it('tells the port of HTTPS where it has a certificate, and no node whose HTTP port somebody else has', async () => {
  const http = { paths: [{ path: '/', pathType: 'Prefix' as const, backend }] };
  const ofHost = (host: string) => ({ rules: [{ host, http }] });
  await createIngress('films', ofHost('films.local'));
  await createIngress('shop', ofHost('shop.example.com'));
  await createIngress('safe', {
    ...ofHost('safe.example.com'),
    tls: [{ hosts: ['safe.example.com'], secretName: 'safe' }],
  });
  await addServingNode('a', '192.168.1.1');
  await addServingNode('b', '192.168.1.2', 'https 443');
  await addServingNode('c', '192.168.1.3', 'http 80');
  const both = ['192.168.1.1 80/TCP 443/TCP', '192.168.1.3 80/TCP'];
  expect([await addressesOf('films'), await addressesOf('safe')]).toEqual([both, both]);
  expect(await addressesOf('shop')).toEqual(['192.168.1.1 80/TCP', '192.168.1.3 80/TCP']);
  for (const name of ['a', 'c']) await sim.client.delete(nodes, { name });
  expect([await addressesOf('films'), await addressesOf('shop')]).toEqual([
    ['192.168.1.2 443/TCP'],
    [],
  ]);
});

it('an Ingress of another class is left to others', async () => {
  await addServingNode('a', '192.168.1.1');
  await createIngress('theirs', { defaultBackend: backend, ingressClassName: 'nginx' });
  expect(await addressesOf('theirs')).toEqual([]);
});

it('what can’t be served is said on the Ingress once, whoever serves it, and only if it stays so', async () => {
  for (const [name, address] of [
    ['a', '192.168.1.1'],
    ['b', '192.168.1.2'],
  ] as const)
    await addServingNode(name, address);
  const http = { paths: [{ path: '/', pathType: 'Prefix' as const, backend }] };
  const tls = [{ hosts: ['films.local'], secretName: 'films' }];
  await createIngress('films', { rules: [{ host: 'films.local', http }], tls });
  await sim.settle();
  // As by one `kubectl apply` of a file in which it stands first.
  await sim.client.create(services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'default', name: 'app' },
    spec: { ports: [{ port: 80 }] },
  });
  await sim.advance(10_000);
  const said = async () => {
    const { items } = await sim.client.list(events, { namespace: 'default' });
    return items
      .filter(({ involvedObject }) => involvedObject.kind === 'Ingress')
      .map(({ reason, message, count }) => `${count} ${reason}: ${message}`)
      .toSorted();
  };
  const noSecret =
    /^1 IngressProblem: No HTTPS for films.local: the Secret default\/films does not exist/;
  expect(await said()).toEqual([expect.stringMatching(noSecret)]);
  const pair = issueCertificate(
    { commonName: 'films', usages: ['server'], notBeforeMs: 0, notAfterMs: 1e12 },
    undefined,
    seededRandom(1),
  );
  const data = { 'tls.crt': btoa(pair.certPem), 'tls.key': btoa(makeKey()) };
  await sim.client.create(secrets, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace: 'default', name: 'films' },
    type: 'kubernetes.io/tls',
    data,
  });
  await sim.advance(10_000);
  const otherKey = /^1 .* the Secret default\/films has a key that is not its certificate’s/;
  expect(await said()).toEqual([expect.stringMatching(noSecret), expect.stringMatching(otherKey)]);
  const right = { data: { 'tls.key': btoa(pair.keyPem) } };
  await sim.client.patch(secrets, { namespace: 'default', name: 'films' }, right);
  await sim.advance(10_000);
  expect((await said()).length).toBe(2);
});
