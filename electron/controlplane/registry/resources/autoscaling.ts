// Autoscalers, in both their versions, and disruption budgets in the resource table.
import type { HorizontalPodAutoscaler as Version1 } from '#kube/api/autoscaling.ts';
import type { HorizontalPodAutoscaler } from '#kube/api/autoscaling-v2.ts';
import type { PodDisruptionBudget } from '#kube/api/policy.ts';
import {
  horizontalPodAutoscalerColumns,
  podDisruptionBudgetColumns,
} from '../columns/autoscaling.ts';
import type { ResourceDefinition } from '../resource.ts';
import {
  podDisruptionBudgetStatus,
  podDisruptionBudgetStrategy,
} from '../strategies/apps/pod-disruption-budget.ts';
import { autoscalerConversion } from '../strategies/autoscaling/conversion.ts';
import {
  horizontalPodAutoscalerStatus,
  horizontalPodAutoscalerStrategy,
} from '../strategies/autoscaling/horizontal-pod-autoscaler.ts';
import { versionOf } from '../versions.ts';
import { generic, named } from './define.ts';

const autoscalers: ResourceDefinition<HorizontalPodAutoscaler> = {
  ...named('autoscaling', 'autoscaling/v2', 'HorizontalPodAutoscaler', 'horizontalpodautoscalers'),
  shortNames: ['hpa'],
  categories: ['all'],
  strategy: horizontalPodAutoscalerStrategy,
  columns: horizontalPodAutoscalerColumns,
  subresources: { status: horizontalPodAutoscalerStatus },
};

const autoscalersV1: ResourceDefinition<Version1> = versionOf({
  naming: named(
    'autoscaling',
    'autoscaling/v1',
    'HorizontalPodAutoscaler',
    'horizontalpodautoscalers',
  ),
  stored: autoscalers,
  conversion: autoscalerConversion,
});

const podDisruptionBudgets: ResourceDefinition<PodDisruptionBudget> = {
  ...named('policy', 'policy/v1', 'PodDisruptionBudget', 'poddisruptionbudgets'),
  shortNames: ['pdb'],
  strategy: podDisruptionBudgetStrategy,
  columns: podDisruptionBudgetColumns,
  subresources: { status: podDisruptionBudgetStatus },
};

export const autoscalingResources: readonly ResourceDefinition[] = [
  generic(autoscalers),
  generic(autoscalersV1),
  generic(podDisruptionBudgets),
];
