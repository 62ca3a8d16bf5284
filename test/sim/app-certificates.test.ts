// Certificates of apps' names against the real API server: who gets one, and for what.
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { CertificateSigningRequest } from '#kube/api/certificates.ts';
import {
  certificateSigningRequests,
  configMaps,
  ingressClasses,
  ingresses,
} from '#kube/client/resources.ts';
import { ingressClassName, ingressController } from '#kube/machinery/ingress.ts';
import { makeCertificateRequest, type RequestSubject } from '../setup/certificate-request.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
  await sim.client.create(ingressClasses, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IngressClass',
    metadata: { name: ingressClassName },
    spec: { controller: ingressController },
  });
  await serve('films', 'films.local', 'bank.com');
});
afterEach(() => sim.stop());

async function serve(name: string, ...hosts: string[]): Promise<void> {
  const backend = { service: { name: 'app', port: { number: 80 } } };
  const http = { paths: [{ path: '/', pathType: 'Prefix' as const, backend }] };
  await sim.client.create(ingresses, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { namespace: 'default', name },
    spec: { ingressClassName, rules: hosts.map((host) => ({ host, http })) },
  });
}

async function ask(
  subject: RequestSubject,
  user = { name: 'system:node:pi', groups: ['system:nodes'] },
): Promise<string> {
  const asked: CertificateSigningRequest = {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { name: '', generateName: 'csr-' },
    spec: {
      request: btoa(makeCertificateRequest({ commonName: 'app', ...subject }).requestPem),
      signerName: 'flotilla.dev/app-serving',
      usages: ['digital signature', 'server auth'],
    },
  };
  const { metadata } = await sim
    .clientAs(user.name, user.groups)
    .create(certificateSigningRequests, asked);
  return metadata.name;
}

async function certificateOf(name: string): Promise<string> {
  await sim.settle();
  const { status } = await sim.client.get(certificateSigningRequests, { name });
  return atob(status?.certificate ?? '');
}

it('whom to trust is published, and put back when somebody changes it', async () => {
  await sim.settle();
  const ref = { namespace: 'kube-public', name: 'flotilla-apps-ca' };
  const found = await sim.client.get(configMaps, ref);
  expect(found.data).toEqual({ 'ca.crt': 'a chain' });
  await sim.client.update(configMaps, { ...found, data: { 'ca.crt': 'mine' } });
  await sim.settle();
  expect((await sim.client.get(configMaps, ref)).data).toEqual({ 'ca.crt': 'a chain' });
  await sim.client.delete(configMaps, ref);
  await sim.settle();
  expect((await sim.client.get(configMaps, ref)).data).toEqual({ 'ca.crt': 'a chain' });
});

it.each([
  ['a host of an Ingress', { dnsNames: ['films.local'] }, true],
  ['what it is called beside another', { dnsNames: ['films-2.local'] }, true],
  ['a host of no Ingress', { dnsNames: ['music.local'] }, false],
  ['one of both', { dnsNames: ['films.local', 'music.local'] }, false],
  ['a name of the internet', { dnsNames: ['bank.com'] }, false],
  ['an address', { dnsNames: ['films.local'], ipAddresses: ['10.0.0.1'] }, false],
  ['an organization', { dnsNames: ['films.local'], organizations: ['system:nodes'] }, false],
  ['no name', {}, false],
])('a node asks for %s', async (_, subject, isGiven) => {
  const name = await ask(subject);
  expect(await certificateOf(name)).toBe(isGiven ? 'a certificate of an app' : '');
});

it('nobody else gets one, and an Ingress may come after the request', async () => {
  const person = { name: 'eve', groups: ['system:masters'] };
  expect(await certificateOf(await ask({ dnsNames: ['films.local'] }, person))).toBe('');
  const name = await ask({ dnsNames: ['music.local'] });
  expect(await certificateOf(name)).toBe('');
  await serve('music', 'music.local');
  await sim.advance(5_000);
  expect(await certificateOf(name)).toBe('a certificate of an app');
});
