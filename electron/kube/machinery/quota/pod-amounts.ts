// What a pod asks for as quantities, each in the form its containers write it: `256Mi` stays binary.
import type { PodSpec } from '../../api/core.ts';
import type { Quantity } from '../../api/scalars.ts';
import { podLimits, podRequests, type ResourceAmounts } from '../pod-resources.ts';
import { formatQuantity, parseQuantity } from '../quantity.ts';

const nanosPerMilli = 1_000_000n;
const nanosPerUnit = 1_000_000_000n;

export function podAmounts(spec: PodSpec, what: 'requests' | 'limits'): Record<string, Quantity> {
  const amounts = what === 'requests' ? podRequests(spec) : podLimits(spec);
  return Object.fromEntries(
    Object.entries(amounts).map(([name, amount]) => [name, inForm(spec, name, amount)]),
  );
}

function inForm(spec: PodSpec, name: string, amount: ResourceAmounts[string]): string {
  const nanos = BigInt(amount) * (name === 'cpu' ? nanosPerMilli : nanosPerUnit);
  return formatQuantity({ nanos, format: parseQuantity(sampleOf(spec, name) ?? '0').format });
}

/** Any quantity of that resource in the pod. */
function sampleOf(spec: PodSpec, name: string): Quantity | undefined {
  const parts = [...spec.containers, ...(spec.initContainers ?? []), spec];
  for (const { resources } of parts)
    for (const amounts of [resources?.requests, resources?.limits]) {
      const amount = amounts?.[name];
      if (amount !== undefined) return amount;
    }
  return spec.overhead?.[name];
}
