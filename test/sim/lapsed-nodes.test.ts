// A cluster that was off for 14 months: its machines' certificates ended meanwhile. Who is let in by one, in the real API server
// with the real controllers, and what for.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { certificateSigningRequests, nodes, pods, secrets } from '#kube/client/resources.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { goodFromKey, lapsedGroup } from '#kube/machinery/lapsed-nodes.ts';
import { makeCertificateRequest } from '../setup/certificate-request.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

const day = 86_400_000;
let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
});
afterEach(() => sim.stop());

/** As the API server takes a machine whose certificate was good from then on, and has ended. */
function lapsed(goodFromMs: number) {
  return sim.clientOf({
    name: 'system:node:pi',
    groups: [lapsedGroup, 'system:authenticated'],
    extra: { [goodFromKey]: [String(goodFromMs)] },
  });
}

async function ask(goodFromMs: number, node = 'pi', name = 'csr-1'): Promise<string | undefined> {
  const subject = { commonName: `system:node:${node}`, organizations: ['system:nodes'] };
  await lapsed(goodFromMs).create(certificateSigningRequests, {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { name },
    spec: {
      request: btoa(makeCertificateRequest(subject).requestPem),
      signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
      usages: ['client auth', 'digital signature'],
    },
  });
  await sim.settle();
  const { status } = await sim.client.get(certificateSigningRequests, { name });
  const denied = getCondition(status?.conditions, 'Denied');
  return denied === undefined ? status?.conditions?.[0]?.type : denied.message;
}

it('a node that the cluster has gets its next certificate', async () => {
  const fromMs = sim.clock.now();
  await sim.addNode('pi');
  sim.clock.advance(425 * day);
  expect(await ask(fromMs)).toBe('Approved');
});

it('one that was taken out meanwhile does not come back by its old disk', async () => {
  expect(await ask(sim.clock.now() - 425 * day)).toBe(
    'the certificate of pi has ended, and no node of this cluster has that name any more: add the machine again',
  );
});

it('nor does one whose name another machine has by now', async () => {
  const fromMs = sim.clock.now();
  sim.clock.advance(200 * day);
  await sim.addNode('pi');
  sim.clock.advance(225 * day);
  expect(await ask(fromMs)).toContain('is older than the node that has the name now');
});

it('it may do nothing else, and asks for nobody else', async () => {
  const fromMs = sim.clock.now();
  await sim.addNode('pi');
  sim.clock.advance(425 * day);
  const client = lapsed(fromMs);
  const refused = { status: { reason: 'Forbidden' } };
  await expect(client.get(nodes, { name: 'pi' })).rejects.toMatchObject(refused);
  await expect(client.list(pods)).rejects.toMatchObject(refused);
  await expect(client.list(secrets)).rejects.toMatchObject(refused);
  expect(await ask(fromMs, 'attic', 'csr-2')).toBeUndefined();
});
