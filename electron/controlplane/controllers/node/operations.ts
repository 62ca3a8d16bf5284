// Sees what was asked of machines through (kube/machinery/node-operations.ts): moves their pods by evictions, hands over to their
// agents, opens them again, and deletes the Nodes of those that were taken out.
import type { ConfigMap, Node, Pod } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import {
  configMaps,
  machines,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
} from '#kube/client/resources.ts';
import { planDeparture } from '#kube/machinery/departure.ts';
import {
  operationAnnotation,
  operationOf,
  operationText,
  type Operation,
} from '#kube/machinery/node-operations.ts';
import { removedMachinesRef, withRemoved } from '#kube/machinery/removed-machines.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { recorderFor, type ControllerDeps, type RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';
import { nodeIndex, nodeIndexer } from '../pod-gc.ts';
import { nextStep, type OperationStep } from './operation-plan.ts';

export function createNodeOperationsController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger, informers } = deps;
  const recorder = recorderFor(deps, 'node-operations');
  const allNodes = informers.informer(nodes);
  const allPods = informers.informer(pods, { indexers: nodeIndexer });
  const claims = informers.informer(persistentVolumeClaims);
  const volumes = informers.informer(persistentVolumes);
  const controller = new Controller({ name: 'node-operations', clock, logger, reconcile });
  const keyOf = ({ metadata }: Node): string => metadata.name;
  controller.watch(allNodes, (node) => (operationOf(node) === undefined ? [] : [keyOf(node)]));
  controller.watchWith(allPods, {
    onDelete(pod) {
      const node = allNodes.lister.get('', pod.spec.nodeName ?? '');
      if (node !== undefined && operationOf(node) !== undefined) controller.enqueue(keyOf(node));
    },
  });

  async function reconcile(name: string): Promise<ReconcileResult> {
    const node = allNodes.lister.get('', name);
    const operation = node === undefined ? undefined : operationOf(node);
    if (node === undefined || operation === undefined) return {};
    const here = allPods.lister.byIndex(nodeIndex, name);
    const { pods: outcomes } = planDeparture({
      node,
      action: operation.action,
      nodes: allNodes.lister.list(),
      pods: here,
      claim: (namespace, claimName) => claims.lister.get(namespace, claimName),
      volume: (volumeName) => volumes.lister.get('', volumeName),
      keepers: new Map(),
    });
    const step = nextStep({ node, operation, pods: here, outcomes, nowMs: clock.now() });
    return act(node, operation, step);
  }

  async function act(
    node: Node,
    operation: Operation,
    step: OperationStep,
  ): Promise<ReconcileResult> {
    const about = { kind: 'Node', name: node.metadata.name, uid: node.metadata.name };
    switch (step.type) {
      case 'wait':
        return step.againMs === undefined ? {} : { requeueAfterMs: step.againMs };
      case 'evict':
        await Promise.all(step.pods.map(evict));
        return { requeueAfterMs: step.againMs };
      case 'hand-over':
        await write(node, { ...operation, state: 'Due', since: rfc3339(clock.now()) });
        return {};
      case 'finish':
        recorder.event(
          about,
          'Normal',
          `${operation.action}Done`,
          operation.message ?? 'As it was asked',
        );
        await write(node, undefined, operation.hasClosed);
        return {};
      case 'give-up': {
        recorder.event(about, 'Warning', `${operation.action}Failed`, step.why);
        const { hasClosed, ...kept } = operation;
        const since = rfc3339(clock.now());
        await write(node, { ...kept, state: 'Failed', since, message: step.why }, hasClosed);
        return {};
      }
      case 'delete':
        await forget(node, step.remember);
        return {};
    }
  }

  /** `isOpened`: pods may come again. A conflict is looked at anew. */
  async function write(
    { metadata }: Node,
    operation: Operation | undefined,
    isOpened = false,
  ): Promise<void> {
    const { name, uid, resourceVersion } = metadata;
    const text = operation === undefined ? null : operationText(operation);
    const patch = {
      metadata: { uid, resourceVersion, annotations: { [operationAnnotation]: text } },
      ...(isOpened && { spec: { unschedulable: null } }),
    };
    await client.patch(nodes, { name }, patch).catch(ignoreNotFound);
  }

  async function evict({ metadata }: Pod): Promise<void> {
    const { namespace, name, uid } = metadata;
    const eviction = {
      apiVersion: 'policy/v1',
      kind: 'Eviction',
      metadata: { namespace, name },
      deleteOptions: { preconditions: { uid } },
    };
    try {
      await client.createSubresource(pods, { namespace, name }, 'eviction', eviction);
    } catch (error) {
      // Its disruption budget keeps it for now, or it went by itself.
      const isLater = ['TooManyRequests', 'NotFound', 'Conflict'].some((reason) =>
        hasReason(error, reason),
      );
      if (!isLater) throw error;
    }
  }

  /** First what keeps it from coming back by itself. */
  async function forget(node: Node, remember: boolean): Promise<void> {
    const { name, uid } = node.metadata;
    const machineId = node.status?.nodeInfo?.machineID ?? '';
    if (remember && machineId !== '') await note(name, machineId);
    await client.delete(nodes, { name }, { preconditions: { uid } }).catch(ignoreNotFound);
    const { items } = await client.list(machines);
    for (const { metadata, status } of items)
      if (status?.nodeName === name)
        await client.delete(machines, { name: metadata.name }).catch(ignoreNotFound);
    logger.info('A machine was taken out', { node: name, isThere: !remember });
  }

  async function note(nodeName: string, machineId: string): Promise<void> {
    const found: ConfigMap | undefined = await client
      .get(configMaps, removedMachinesRef)
      .catch(ignoreNotFound);
    const next = withRemoved(found, nodeName, { machineId, at: rfc3339(clock.now()) });
    await (found === undefined ? client.create(configMaps, next) : client.update(configMaps, next));
  }
  return controller;
}
