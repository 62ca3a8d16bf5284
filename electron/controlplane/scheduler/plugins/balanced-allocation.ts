// NodeResourcesBalancedAllocation: prefers nodes whose CPU and memory fill up evenly.
// Source: kubernetes pkg/scheduler/framework/plugins/noderesources/balanced_allocation.go.
import { scoreMax, type Plugin } from '../framework.ts';
import { scoredResources } from './node-resources-fit.ts';

export const balancedAllocation: Plugin = {
  name: 'NodeResourcesBalancedAllocation',
  // A pod that asks for nothing would balance nothing, and all such pods would meet on one node.
  preScore: (_state, { requests }) =>
    scoredResources.some((name) => (requests.get(name) ?? 0) > 0) ? undefined : 'skip',
  score(_state, { requests }, node) {
    const fractions: number[] = [];
    for (const name of scoredResources) {
      const total = node.allocatable.get(name) ?? 0;
      if (total === 0) continue;
      const used = (node.requested.get(name) ?? 0) + (requests.get(name) ?? 0);
      fractions.push(Math.min(1, used / total));
    }
    return Math.floor((1 - standardDeviation(fractions)) * scoreMax);
  },
};

function standardDeviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / values.length);
}
