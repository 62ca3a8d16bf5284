// What a pod asks of a node: containers add up, init containers run one after another, sidecars
// (init containers that restart always) run beside everything after them, and overhead comes on top.
// Source: kubernetes component-helpers resource/helpers.go PodRequests.
import type { Container, PodSpec } from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import { toInteger, toMilli } from '#kube/machinery/quantity.ts';

/** By resource name: thousandths for cpu, whole units (bytes, pods, devices) for the rest. */
export type Resources = ReadonlyMap<string, number>;

export function parseResources(list: Readonly<Record<string, Quantity>> = {}): Resources {
  const parsed = new Map<string, number>();
  for (const [name, quantity] of Object.entries(list))
    parsed.set(name, name === 'cpu' ? toMilli(quantity) : toInteger(quantity));
  return parsed;
}

/** What a container counts for when it asks for nothing, in scores only. */
export interface RequestDefaults {
  readonly cpu: number;
  readonly memory: number;
}

const noDefaults: RequestDefaults = { cpu: 0, memory: 0 };
/** Source: kubernetes pkg/scheduler/util/pod_resources.go (100m and 200 MB). */
export const scoringDefaults: RequestDefaults = { cpu: 100, memory: 200 * 1024 * 1024 };

export function podRequests(spec: PodSpec, defaults = noDefaults): Resources {
  const running = new Map<string, number>();
  for (const container of spec.containers) add(running, requestsOf(container, defaults));
  const sidecars = new Map<string, number>();
  const starting = new Map<string, number>();
  for (const container of spec.initContainers ?? []) {
    const requests = requestsOf(container, defaults);
    if (container.restartPolicy === 'Always') {
      add(running, requests);
      add(sidecars, requests);
    } else {
      const together = new Map(sidecars);
      add(together, requests);
      raise(starting, together);
    }
  }
  raise(running, starting);
  // Requests of the pod as a whole stand for those of its containers.
  for (const [name, amount] of parseResources(spec.resources?.requests)) running.set(name, amount);
  add(running, parseResources(spec.overhead));
  return running;
}

function requestsOf(container: Container, defaults: RequestDefaults): Resources {
  const requests = new Map(parseResources(container.resources?.requests));
  if (defaults.cpu > 0 && !requests.has('cpu')) requests.set('cpu', defaults.cpu);
  if (defaults.memory > 0 && !requests.has('memory')) requests.set('memory', defaults.memory);
  return requests;
}

/** Adds `amounts`, times `factor`, to `total`. */
export function add(total: Map<string, number>, amounts: Resources, factor = 1): void {
  for (const [name, amount] of amounts) total.set(name, (total.get(name) ?? 0) + amount * factor);
}

function raise(total: Map<string, number>, amounts: Resources): void {
  for (const [name, amount] of amounts)
    total.set(name, Math.max(total.get(name) ?? Number.NEGATIVE_INFINITY, amount));
}
