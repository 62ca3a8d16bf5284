// Machines that were taken out of the cluster while they were gone: a ConfigMap that control plane and admission agree on.
// One that comes back with its old certificate is refused as a node until somebody adds it again.
import type { ConfigMap } from '../api/core.ts';

export const removedMachinesRef = { namespace: 'kube-system', name: 'removed-machines' } as const;

export interface RemovedMachine {
  readonly machineId: string;
  /** RFC 3339. */
  readonly at: string;
}

/** Of one node's name: several machines may have had it, one after the other. */
export function removedAs(
  found: ConfigMap | undefined,
  nodeName: string,
): readonly RemovedMachine[] {
  try {
    const all = JSON.parse(found?.data?.[nodeName] ?? '[]') as readonly RemovedMachine[];
    return Array.isArray(all) ? all.filter(({ machineId }) => typeof machineId === 'string') : [];
  } catch {
    return [];
  }
}

const keptOfOneName = 8;

export function withRemoved(
  found: ConfigMap | undefined,
  nodeName: string,
  machine: RemovedMachine,
): ConfigMap {
  const others = removedAs(found, nodeName).filter(
    ({ machineId }) => machineId !== machine.machineId,
  );
  const all = [...others, machine].slice(-keptOfOneName);
  return withData(found, { ...found?.data, [nodeName]: JSON.stringify(all) });
}

/** Undefined: it says nothing of that name. `machineId`: only of this machine. */
export function withoutRemoved(
  found: ConfigMap | undefined,
  nodeName: string,
  machineId?: string,
): ConfigMap | undefined {
  const before = removedAs(found, nodeName);
  const rest = before.filter((one) => machineId !== undefined && one.machineId !== machineId);
  if (rest.length === before.length) return undefined;
  const { [nodeName]: _gone, ...others } = found?.data ?? {};
  const kept = rest.length === 0 ? {} : { [nodeName]: JSON.stringify(rest) };
  return withData(found, { ...others, ...kept });
}

function withData(found: ConfigMap | undefined, data: Record<string, string>): ConfigMap {
  const made = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { ...removedMachinesRef },
  } as const;
  return { ...(found ?? made), data };
}
