// What a pod asks of a node, in a form that is quickly added up.
import type { PodSpec } from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import { amountsOf, podRequests as requestsOf } from '#kube/machinery/pod-resources.ts';

/** By resource name: thousandths for cpu, whole units (bytes, pods, devices) for the rest. */
export type Resources = ReadonlyMap<string, number>;

export function parseResources(list: Readonly<Record<string, Quantity>> = {}): Resources {
  return new Map(Object.entries(amountsOf(list)));
}

/** What a container counts for when it asks for nothing, in scores only. */
export interface RequestDefaults {
  readonly cpu: number;
  readonly memory: number;
}

/** Source: kubernetes pkg/scheduler/util/pod_resources.go (100m and 200 MB). */
export const scoringDefaults: RequestDefaults = { cpu: 100, memory: 200 * 1024 * 1024 };

export function podRequests(spec: PodSpec, defaults?: RequestDefaults): Resources {
  const missingRequests = defaults === undefined ? {} : { ...defaults };
  return new Map(Object.entries(requestsOf(spec, { missingRequests })));
}

/** Adds `amounts`, times `factor`, to `total`. */
export function add(total: Map<string, number>, amounts: Resources, factor = 1): void {
  for (const [name, amount] of amounts) total.set(name, (total.get(name) ?? 0) + amount * factor);
}
