// Endpoints of the Service `kubernetes` while members of the control plane come, die and go for good.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { endpointSlices, leases } from '#kube/client/resources.ts';
import { apiServerLease } from '#kube/machinery/api-servers.ts';
import { ensureObject, forgetApiServer } from '../../electron/controlplane/own-objects.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
let members: Map<string, boolean>;
beforeEach(async () => {
  members = new Map([['1', true]]);
  sim = await startControlPlane({ apiServers: () => members });
});
afterEach(() => sim.stop());

/** As it does at each start. */
async function register(id: string, port = 7443): Promise<void> {
  members.set(id, true);
  await ensureObject(sim.client, apiServerLease(id, `192.168.1.${id}`, port));
}

/** `name: address…:port` of each slice. */
async function endpoints(): Promise<string[]> {
  await sim.settle();
  const { items } = await sim.client.list(endpointSlices, { namespace: 'default' });
  return items
    .map(({ metadata, endpoints: all, ports }) => {
      const addresses = (all ?? []).flatMap((one) => one.addresses).join(',');
      return `${metadata.name}: ${addresses}:${ports?.[0]?.port}`;
    })
    .toSorted();
}

it('each that serves is one of them while it lives, and again when it is back', async () => {
  expect(await endpoints()).toEqual([]);
  await register('1');
  await register('2');
  expect(await endpoints()).toEqual(['kubernetes: 192.168.1.1,192.168.1.2:7443']);
  members.set('2', false);
  await sim.advance(12_000);
  expect(await endpoints()).toEqual(['kubernetes: 192.168.1.1,192.168.1.2:7443']);
  await sim.advance(12_000);
  expect(await endpoints()).toEqual(['kubernetes: 192.168.1.1:7443']);
  members.set('2', true);
  await sim.advance(6_000);
  expect(await endpoints()).toEqual(['kubernetes: 192.168.1.1,192.168.1.2:7443']);
});

it('one that is no member any more is forgotten', async () => {
  await register('1');
  await register('2');
  members.delete('2');
  await sim.advance(6_000);
  expect(await endpoints()).toEqual(['kubernetes: 192.168.1.1:7443']);
  const { items } = await sim.client.list(leases, { namespace: 'kube-system' });
  expect(items.map(({ metadata }) => metadata.name)).toEqual(['apiserver-1']);
});

it('those on another port are in a slice of their own, and what somebody deletes comes back', async () => {
  await register('1');
  await register('2', 7444);
  await register('3', 7444);
  const all = ['kubernetes-7443: 192.168.1.1:7443', 'kubernetes: 192.168.1.2,192.168.1.3:7444'];
  expect(await endpoints()).toEqual(all.toSorted());
  await sim.client.delete(endpointSlices, { namespace: 'default', name: 'kubernetes' });
  expect(await endpoints()).toEqual(all.toSorted());
});

it('one that starts on another port is there by that, and not by any when only its machine reaches it', async () => {
  await register('1');
  await register('1', 7444);
  expect(await endpoints()).toEqual(['kubernetes: 192.168.1.1:7444']);
  await forgetApiServer(sim.client, '1');
  expect(await endpoints()).toEqual([]);
  await forgetApiServer(sim.client, '1');
});
