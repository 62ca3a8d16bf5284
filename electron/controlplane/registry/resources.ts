// The resource table: every built-in kind, declared once. Routes, discovery, OpenAPI, storage
// keys, garbage collection and namespace deletion derive from it. To add a kind: an entry in its
// family's file in resources/, its strategy, its columns, its schema.
// Source: kubernetes pkg/registry/*/rest, pkg/apis/*/v1/conversion.go (field selectors).
import type { ResourceDefinition } from './resource.ts';
import { accessResources } from './resources/access.ts';
import { autoscalingResources } from './resources/autoscaling.ts';
import { batchResources } from './resources/batch.ts';
import { coreResources } from './resources/core.ts';
import { extensionResources } from './resources/extension.ts';
import { fleetResources } from './resources/fleet.ts';
import { volumeMoveResources } from './resources/volume-moves.ts';
import { metricsResources } from './resources/metrics.ts';
import { networkingResources } from './resources/networking.ts';
import { nodesResources } from './resources/nodes.ts';
import { podsResources } from './resources/pods.ts';
import { storageResources } from './resources/storage.ts';
import { workloadsResources } from './resources/workloads.ts';

/** For `new ResourceTable(builtInResources)`. A group's preferred version comes first. */
export const builtInResources: readonly ResourceDefinition[] = [
  ...coreResources,
  ...nodesResources,
  ...podsResources,
  ...networkingResources,
  ...workloadsResources,
  ...batchResources,
  ...autoscalingResources,
  ...storageResources,
  ...accessResources,
  ...extensionResources,
  ...fleetResources,
  ...volumeMoveResources,
  // Behind all others: `kubectl get pods` means pods.
  ...metricsResources,
];
