// The table of controllers: name → factory. The composition root starts them all with one client.
import { createCustomResourceDefinitionController } from './custom-resource-definition.ts';
import { createDaemonSetController } from './daemon-set/daemon-set.ts';
import { createDeploymentController } from './deployment/deployment.ts';
import type { ControllerDeps, ControllerFactory } from './deps.ts';
import { createEndpointSliceController } from './endpoint-slice/endpoint-slice.ts';
import { createGarbageCollector } from './garbage-collector/garbage-collector.ts';
import { createNamespaceController } from './namespace.ts';
import { createNodeLifecycleController } from './node/node-lifecycle.ts';
import { createTaintEvictionController } from './node/taint-eviction.ts';
import { createPodGarbageCollector } from './pod-gc.ts';
import {
  createReplicaSetController,
  createReplicationController,
} from './replica-set/replica-set.ts';
import { createServiceAccountController } from './service-account.ts';

export type { ControllerDeps } from './deps.ts';

export const controllers: Readonly<Record<string, ControllerFactory>> = {
  serviceaccount: createServiceAccountController,
  namespace: createNamespaceController,
  deployment: createDeploymentController,
  replicaset: createReplicaSetController,
  replicationcontroller: createReplicationController,
  daemonset: createDaemonSetController,
  endpointslice: createEndpointSliceController,
  customresourcedefinition: createCustomResourceDefinitionController,
  garbagecollector: createGarbageCollector,
  nodelifecycle: createNodeLifecycleController,
  tainteviction: createTaintEvictionController,
  podgc: createPodGarbageCollector,
};

/** Runs every controller until `signal` aborts; rejects when one of them fails an assertion. */
export async function runControllers(deps: ControllerDeps, signal: AbortSignal): Promise<void> {
  const made = Object.values(controllers).map((factory) => factory(deps));
  const runs = made.map((controller) => controller.run(signal));
  deps.informers.start(signal);
  await Promise.all(runs);
}
