// Answers `nodes/NAME/power` and `nodes/NAME/removal`: says what will happen, and asks for it by an annotation of the Node. What
// follows is the controller's (controllers/node/operations.ts) and the machine's own agent's (agent/power/node-operator.ts).
import type { Node } from '#kube/api/core.ts';
import type { NodeOperationSpec, NodeOperationStatus } from '#kube/api/fleet.ts';
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { safeSuffix, type Random } from '#kube/base/random.ts';
import { nodes, persistentVolumeClaims, persistentVolumes, pods } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { actionWords, planDeparture, type Departure } from '#kube/machinery/departure.ts';
import {
  cardsOf,
  isNodeAnswering,
  operationAnnotation,
  operationText,
  wakeAnnotation,
  type NetworkCard,
  type Operation,
} from '#kube/machinery/node-operations.ts';

export interface NodeOperationsDeps {
  /** With the rights of `node-operation`; asked for when the API serves. */
  readonly client: () => RestClient;
  /** Machines that keep the cluster's state with a vote: whether they answer. */
  readonly keepers: () => ReadonlyMap<string, boolean>;
  /** From this machine, as far as it may be heard there. Never throws. */
  readonly wake: (cards: readonly NetworkCard[]) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export function createNodeOperations(deps: NodeOperationsDeps) {
  return async function operate(
    node: Node,
    { phase, action, acceptWarnings }: NodeOperationSpec,
    signal: AbortSignal,
  ): Promise<NodeOperationStatus> {
    const { name } = node.metadata;
    const departure = await look(node, action, signal);
    const status = statusOf(departure);
    if (phase === 'Inspect' || status.phase === 'Obstructed') return status;
    if (status.warnings !== undefined && acceptWarnings !== true)
      return {
        ...status,
        message: 'There are warnings: accept them to go on (spec.acceptWarnings)',
      };
    if (action === 'Wake') await wake(node);
    else await ask(node, action);
    deps.logger.info('A machine is operated', { node: name, action });
    return { ...status, phase: 'Asked', message: `${name} is to ${actionWords[action]}` };
  };

  async function look(
    node: Node,
    action: NodeOperationSpec['action'],
    signal: AbortSignal,
  ): Promise<Departure> {
    const client = deps.client();
    const selector = { fieldSelector: `spec.nodeName=${node.metadata.name}` };
    const [allNodes, own, claims, volumes] = await Promise.all([
      client.list(nodes, { signal }),
      client.list(pods, { ...selector, signal }),
      client.list(persistentVolumeClaims, { signal }),
      client.list(persistentVolumes, { signal }),
    ]);
    return planDeparture({
      node,
      action,
      nodes: allNodes.items,
      pods: own.items,
      claim: (namespace, name) =>
        claims.items.find(
          ({ metadata }) => metadata.namespace === namespace && metadata.name === name,
        ),
      volume: (name) => volumes.items.find(({ metadata }) => metadata.name === name),
      keepers: deps.keepers(),
    });
  }

  /** Of two who ask at a time one gets a conflict. */
  async function ask(node: Node, action: Operation['action']): Promise<void> {
    const { name, uid, resourceVersion } = node.metadata;
    const operation: Operation = {
      id: safeSuffix(deps.random, 8),
      action,
      state: 'Leaving',
      since: rfc3339(deps.clock.now()),
      ...(node.spec.unschedulable !== true && { hasClosed: true }),
      ...(action === 'Remove' && !isNodeAnswering(node) && { isWithoutAgent: true }),
    };
    const annotations = { [operationAnnotation]: operationText(operation) };
    const patch = {
      metadata: { uid, resourceVersion, annotations },
      spec: { unschedulable: true },
    };
    await deps.client().patch(nodes, { name }, patch);
  }

  async function wake(node: Node): Promise<void> {
    const { name } = node.metadata;
    const request = { id: safeSuffix(deps.random, 8), at: rfc3339(deps.clock.now()) };
    const annotations = { [wakeAnnotation]: JSON.stringify(request) };
    await Promise.all([
      deps.client().patch(nodes, { name }, { metadata: { annotations } }),
      deps.wake(cardsOf(node)),
    ]);
  }
}

function statusOf({ pods: all, obstacles, warnings }: Departure): NodeOperationStatus {
  return {
    phase: obstacles.length > 0 ? 'Obstructed' : 'Planned',
    ...(all.length > 0 && { pods: [...all] }),
    ...(obstacles.length > 0 && { obstacles: [...obstacles] }),
    ...(warnings.length > 0 && { warnings: [...warnings] }),
  };
}
