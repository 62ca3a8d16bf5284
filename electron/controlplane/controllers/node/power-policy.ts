// Puts machines to sleep and wakes them, as their Nodes say: by the clock on the wall (kube/machinery/power-schedule.ts), and when pods wait that
// would fit one that sleeps. It asks as a person would, by `nodes/power`, and accepts no warnings.
import type { Node, Pod } from '#kube/api/core.ts';
import type { NodeAction, NodeOperation } from '#kube/api/fleet.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import { nodes, pods } from '#kube/client/resources.ts';
import { isNodeReady, wakeRequestOf } from '#kube/machinery/node-operations.ts';
import { matchesRequired } from '#kube/machinery/node-selector.ts';
import { amountsOf, podRequests } from '#kube/machinery/pod-resources.ts';
import {
  isAsleepAt,
  nextChangeAnnotation,
  nextChangeMs,
  scheduleAnnotation,
  scheduleOf,
  wakeForPodsAnnotation,
} from '#kube/machinery/power-schedule.ts';
import { recorderFor, type ControllerDeps, type RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';
import { nodeIndex, nodeIndexer } from '../pod-gc.ts';
import { isPodActive, podCondition } from '../pod-state.ts';

/** A machine takes its time to be there. */
const wakeAgainMs = 300_000;

export function createPowerPolicyController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger, informers } = deps;
  const recorder = recorderFor(deps, 'power-policy');
  const allNodes = informers.informer(nodes);
  const allPods = informers.informer(pods, { indexers: nodeIndexer });
  const controller = new Controller({ name: 'power-policy', clock, logger, reconcile });
  controller.watch(allNodes, (node) => (hasPolicy(node) ? [node.metadata.name] : []));
  controller.watch(allPods, (pod) => {
    if (!isUnschedulable(pod)) return [];
    return allNodes.lister
      .list()
      .filter(wakesForPods)
      .map(({ metadata }) => metadata.name);
  });

  async function reconcile(name: string): Promise<ReconcileResult> {
    const node = allNodes.lister.get('', name);
    if (node === undefined || !hasPolicy(node)) return {};
    const waits = [await byClock(node), await byPods(node)].filter((ms) => ms !== undefined);
    return waits.length === 0 ? {} : { requeueAfterMs: Math.min(...waits) };
  }

  /** In how long there is something to do. */
  async function byClock(node: Node): Promise<number | undefined> {
    const schedule = scheduleOf(node);
    if (schedule === undefined) return undefined;
    const nowMs = clock.now();
    const noted = Date.parse(node.metadata.annotations?.[nextChangeAnnotation] ?? '');
    const dueMs = nextChangeMs(schedule, nowMs);
    // Later than the next change: the schedule is another one now.
    const isNoted = !Number.isNaN(noted) && noted <= dueMs;
    if (isNoted && nowMs < noted) return noted - nowMs;
    // What was noted is due; a schedule that is new begins with its next change.
    if (isNoted) await ask(node, isAsleepAt(schedule, nowMs) ? 'Sleep' : 'Wake');
    const annotations = { [nextChangeAnnotation]: rfc3339(dueMs) };
    await client
      .patch(nodes, { name: node.metadata.name }, { metadata: { annotations } })
      .catch(ignoreNotFound);
    return dueMs - nowMs;
  }

  async function byPods(node: Node): Promise<number | undefined> {
    if (!wakesForPods(node)) return undefined;
    const here = allPods.lister.byIndex(nodeIndex, node.metadata.name).filter(isPodActive);
    if (!allPods.lister.list().some((pod) => isUnschedulable(pod) && mayFit(pod, node, here)))
      return undefined;
    const lastMs = Date.parse(wakeRequestOf(node)?.at ?? '');
    const leftMs = lastMs + wakeAgainMs - clock.now();
    if (leftMs > 0) return leftMs;
    await ask(node, 'Wake');
    return wakeAgainMs;
  }

  /** Whatever stands in the way is an event of the Node: nobody sits before a page. */
  async function ask(node: Node, action: NodeAction): Promise<void> {
    const { name } = node.metadata;
    if (action === 'Wake' && isNodeReady(node)) return;
    const asked = {
      apiVersion: 'flotilla.dev/v1alpha1',
      kind: 'NodeOperation',
      metadata: { name },
      spec: { phase: 'Apply', action },
    } as const;
    const answer = await client.createSubresource(nodes, { name }, 'power', asked);
    const { phase, obstacles = [], warnings = [] } = (answer as NodeOperation).status ?? {};
    if (phase === 'Asked') return;
    const about = { kind: 'Node', name, uid: name };
    const why = [...obstacles, ...warnings].join('; ');
    recorder.event(about, 'Warning', `${action}Failed`, `By its schedule, and not done: ${why}`);
  }
  return controller;
}

function hasPolicy({ metadata }: Node): boolean {
  const { annotations = {} } = metadata;
  return (
    annotations[scheduleAnnotation] !== undefined || annotations[wakeForPodsAnnotation] === 'true'
  );
}

/** It is gone as it was asked to, and may be called. */
function wakesForPods(node: Node): boolean {
  return node.metadata.annotations?.[wakeForPodsAnnotation] === 'true' && !isNodeReady(node);
}

function isUnschedulable(pod: Pod): boolean {
  return isPodActive(pod) && podCondition(pod, 'PodScheduled')?.reason === 'Unschedulable';
}

/** As far as names, kinds and sizes tell; the scheduler judges in the end. */
function mayFit(pod: Pod, node: Node, here: readonly Pod[]): boolean {
  if (!matchesRequired(pod.spec, node)) return false;
  const { allocatable = {} } = node.status ?? {};
  const room = amountsOf(allocatable);
  return Object.entries(podRequests(pod.spec)).every(([resource, asked]) => {
    const used = here.reduce((sum, { spec }) => sum + (podRequests(spec)[resource] ?? 0), 0);
    return used + asked <= (room[resource] ?? 0);
  });
}
