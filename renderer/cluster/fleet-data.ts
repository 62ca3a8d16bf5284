// Machines that are seen at home, and the search that sees them, live; and what a person does about
// both: agreeing to a sweep, typing an address, taking that back.
import { type ComputedRef, computed } from 'vue';
import type { Machine } from '#kube/api/fleet.ts';
import { discoveries, machines as machineResource } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { singletonDiscovery } from '#kube/machinery/fleet.ts';
import { hasReason } from '#kube/machinery/status.ts';
import {
  describeSearch,
  nameOfTyped,
  type SearchView,
  type TypedAddress,
} from '../state/home-search.ts';
import { seenMachines, type SeenMachine } from '../state/seen-machine.ts';
import { useHome } from './home-data.ts';
import { useResource, useResources } from './resources.ts';

export interface FleetData {
  readonly seen: ComputedRef<readonly SeenMachine[]>;
  readonly search: ComputedRef<SearchView>;
}

export function useFleet(): FleetData {
  const { machines: nodes } = useHome();
  const machines = useResources(machineResource);
  const { object } = useResource(discoveries, () => ({ name: singletonDiscovery }));
  const seen = computed(() =>
    seenMachines(machines.items.value, new Set(nodes.value.map(({ name }) => name))),
  );
  return { seen, search: computed(() => describeSearch(object.value, seen.value)) };
}

/** The search asks once for each change: asking again takes the consent back first. */
export async function sweepNetworks(
  client: RestClient,
  networks: readonly string[],
  isAgain: boolean,
): Promise<void> {
  const home = { name: singletonDiscovery };
  if (isAgain) await client.patch(discoveries, home, { spec: { sweep: [] } });
  await client.patch(discoveries, home, { spec: { sweep: networks } });
}

/** Answers the name of the Machine that has this address: one that is known, or a new one. */
export async function tellOfMachine(client: RestClient, typed: TypedAddress): Promise<string> {
  const { items } = await client.list(machineResource);
  const known = items.find((machine) => isAt(machine, typed));
  if (known !== undefined) return known.metadata.name;
  const { address, sshPort } = typed;
  const spec = { address, ...(sshPort !== undefined && { sshPort }) };
  const taken = new Set(items.map(({ metadata }) => metadata.name));
  const name = freeName(nameOfTyped(typed), taken);
  const apiVersion = 'flotilla.dev/v1alpha1';
  const made = await client.create(machineResource, {
    apiVersion,
    kind: 'Machine',
    metadata: { name },
    spec,
  });
  return made.metadata.name;
}

function freeName(name: string, taken: ReadonlySet<string>): string {
  if (!taken.has(name)) return name;
  for (let number = 2; ; number++) if (!taken.has(`${name}-${number}`)) return `${name}-${number}`;
}

function isAt({ spec, status = {} }: Machine, { address, sshPort }: TypedAddress): boolean {
  if (spec?.address === address) return spec.sshPort === sshPort;
  if (sshPort !== undefined) return false;
  const hostName = address.replace(/\.local$/, '');
  return (
    (status.hostNames ?? []).includes(hostName) ||
    (status.addresses ?? []).some((one) => one.address === address)
  );
}

export async function forgetMachine(client: RestClient, name: string): Promise<void> {
  try {
    await client.delete(machineResource, { name });
  } catch (error) {
    if (!hasReason(error, 'NotFound')) throw error;
  }
}
