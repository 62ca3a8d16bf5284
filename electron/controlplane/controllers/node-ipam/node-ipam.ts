// Gives each node the network of its pods, once and for as long as the Node is there: allocation.ts decides.
// Source: kubernetes pkg/controller/nodeipam/ipam/range_allocator.go.
import type { Node } from '#kube/api/core.ts';
import { Controller } from '#kube/client/controller.ts';
import { nodes } from '#kube/client/resources.ts';
import { podNetworkAnnotations } from '#kube/machinery/pod-networks.ts';
import { recorderFor, type ControllerDeps, type RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';
import { allocate } from './allocation.ts';

export function createNodeIpamController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger } = deps;
  const recorder = recorderFor(deps, 'node-ipam-controller');
  const informer = deps.informers.informer(nodes);
  /** What the cache may not show yet. */
  const given = new Map<string, string>();

  // One worker: two allocations at the same time could take the same.
  const controller = new Controller({ name: 'node-ipam-controller', clock, logger, reconcile });

  async function reconcile(name: string): Promise<void> {
    const node = informer.lister.get('', name);
    if (node === undefined || hasPodCidr(node) || given.has(name)) return;
    const result = allocate(node, informer.lister.list(), given);
    if (result === undefined) return;
    // By its name as uid: so `kubectl describe node` looks for events.
    const about = { kind: 'Node', name, uid: name };
    if ('refusal' in result) {
      recorder.event(about, 'Warning', 'CIDRNotAvailable', sentence(result.refusal));
      return;
    }
    const { cidr, why } = result;
    const { uid } = node.metadata;
    const patch = { metadata: { uid }, spec: { podCIDR: cidr, podCIDRs: [cidr] } };
    const patched = await client.patch(nodes, { name }, patch).catch(ignoreNotFound);
    if (patched === undefined) return;
    given.set(name, cidr);
    logger.info('A network for the pods of a node', { node: name, cidr, why });
    if (why !== undefined)
      recorder.event(about, 'Normal', 'CIDRAssigned', `Pods of ${name} get ${cidr}: ${why}.`);
  }

  /** What one leaves may be what another waits for. */
  function enqueueWaiting(): void {
    for (const node of informer.lister.list())
      if (!hasPodCidr(node)) controller.enqueue(node.metadata.name);
  }

  controller.watchWith(informer, {
    onAdd: enqueueWaiting,
    onUpdate(old, node) {
      if (hasPodCidr(node)) given.delete(node.metadata.name);
      if (networksText(old) !== networksText(node)) enqueueWaiting();
    },
    onDelete(node) {
      given.delete(node.metadata.name);
      enqueueWaiting();
    },
  });
  return controller;
}

function hasPodCidr({ spec }: Node): boolean {
  return (spec.podCIDR ?? '') !== '';
}

function networksText({ metadata: { annotations = {} }, spec }: Node): string {
  const { machineNetworks, podNetwork } = podNetworkAnnotations;
  // Told to be none is not the same as not told.
  return JSON.stringify([annotations[machineNetworks], annotations[podNetwork], spec.podCIDR]);
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
