// The tokens that machines join by, in the real API server with the real controllers: good once, for one machine, for ten
// minutes, and until somebody revokes them. Whoever comes with another is told which token it was and what is the matter.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { seededRandom } from '#kube/base/random.ts';
import { certificateSigningRequests, configMaps, secrets } from '#kube/client/resources.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import {
  joiningGroup,
  oneMachineGroup,
  tokenProblem,
  tokenRef,
} from '#kube/machinery/machine-tokens.ts';
import { removedMachinesRef, withRemoved } from '#kube/machinery/removed-machines.ts';
import { issueToken, revokeToken } from '../../electron/controlplane/fleet/tokens.ts';
import { makeCertificateRequest } from '../setup/certificate-request.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
let seed = 7;
beforeEach(async () => {
  sim = await startControlPlane();
});
afterEach(() => sim.stop());

async function issued(nodeName: string) {
  const deps = { client: sim.client, clock: sim.clock, random: seededRandom(seed++) };
  const { id } = await issueToken(deps, nodeName);
  await sim.settle();
  return id;
}

/** What became of a request by that token: `Approved`, or why it was denied. */
async function ask(id: string, node: string, name = node): Promise<string | undefined> {
  const groups = ['system:bootstrappers', joiningGroup, oneMachineGroup];
  const subject = { commonName: `system:node:${node}`, organizations: ['system:nodes'] };
  await sim.clientAs(`system:bootstrap:${id}`, groups).create(certificateSigningRequests, {
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
  if (denied !== undefined) return `${denied.reason}: ${denied.message}`;
  return status?.conditions?.[0]?.type;
}

it('a machine joins by its token, once', async () => {
  const id = await issued('pi');
  expect(await ask(id, 'pi')).toBe('Approved');
  expect(await ask(id, 'pi', 'again')).toBe(
    `TokenRefused: the token ${id} was used already, and is good once: make a new one to add the machine, and look who used it if that was not you`,
  );
});

it('a token that was used, or revoked, is good for no package either', async () => {
  const id = await issued('pi');
  const problem = async (): Promise<string | undefined> =>
    tokenProblem(await sim.client.get(secrets, tokenRef(id)).catch(() => undefined), id);
  expect(await problem()).toBeUndefined();
  await ask(id, 'pi');
  expect(await problem()).toBe(`the token ${id} was used already, and is good once`);
  await revokeToken({ client: sim.client }, id);
  expect(await problem()).toBe(`the token ${id} was revoked, or has ended`);
});

it('a machine that was taken out may come again once a person makes a token for it', async () => {
  const gone = withRemoved(undefined, 'pi', { machineId: 'x', at: 'then' });
  await sim.client.create(configMaps, gone);
  await issued('nas');
  expect((await sim.client.get(configMaps, removedMachinesRef)).data).toEqual(gone.data);
  await issued('pi');
  expect((await sim.client.get(configMaps, removedMachinesRef)).data ?? {}).toEqual({});
});

it('a token is for one machine only, and is not spent by another', async () => {
  const id = await issued('pi');
  expect(await ask(id, 'nas')).toBe(
    `TokenRefused: the token ${id} is for the machine pi, not for system:node:nas`,
  );
  expect(await ask(id, 'pi')).toBe('Approved');
});

it('of two requests at a time one is approved', async () => {
  const id = await issued('pi');
  const outcomes = await Promise.all([ask(id, 'pi', 'one'), ask(id, 'pi', 'two')]);
  expect(outcomes.filter((outcome) => outcome === 'Approved')).toHaveLength(1);
  expect(outcomes.filter((outcome) => outcome?.includes('used already'))).toHaveLength(1);
});

it('a revoked token is refused, also when who has it was let in a moment before', async () => {
  const id = await issued('pi');
  await revokeToken(sim, id);
  expect(await ask(id, 'pi')).toMatch(/^TokenRefused: the token \w{6} was revoked, or has ended/);
});

it('goes when its ten minutes are over', async () => {
  const id = await issued('pi');
  await sim.advance(9.9 * 60_000);
  expect((await sim.client.get(secrets, tokenRef(id))).metadata.name).toContain(id);
  await sim.advance(10_000);
  await expect(sim.client.get(secrets, tokenRef(id))).rejects.toThrow('not found');
});

it('a token of kubeadm is as good as it always was', async () => {
  const user = sim.clientAs('system:bootstrap:abcdef', ['system:bootstrappers', joiningGroup]);
  for (const name of ['one', 'two']) {
    const subject = { commonName: `system:node:${name}`, organizations: ['system:nodes'] };
    await user.create(certificateSigningRequests, {
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
    expect(status?.conditions?.[0]?.type).toBe('Approved');
  }
});
