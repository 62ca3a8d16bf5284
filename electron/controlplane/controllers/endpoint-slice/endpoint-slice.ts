// Keeps EndpointSlices of every Service with a selector equal to the pods behind it.
// Services without a selector, and slices of others, are left alone.
// Source: kubernetes pkg/controller/endpointslice/endpointslice_controller.go.
import type { Node, Pod, Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import type { Informer } from '#kube/client/informer.ts';
import type { Lister } from '#kube/client/lister.ts';
import { endpointSlices, keyOf, nodes, parseKey, pods, services } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { labelsMatcher } from '#kube/machinery/selector.ts';
import { serviceNameLabel } from '#kube/machinery/endpoint-slices.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';
import { isPodReady } from '../pod-state.ts';
import { addressTypes, endpointGroups } from './endpoints.ts';
import {
  managedByLabel,
  managedByUs,
  ownerOfService,
  planSlices,
  type SliceChanges,
} from './slices.ts';

const serviceIndex = 'service';

export function createEndpointSliceController(deps: ControllerDeps): RunnableController {
  return new EndpointSliceController(deps);
}

class EndpointSliceController implements RunnableController {
  readonly #deps: ControllerDeps;
  readonly #services: Informer<Service>;
  readonly #pods: Informer<Pod>;
  readonly #nodes: Informer<Node>;
  readonly #slices: Informer<EndpointSlice>;
  readonly #controller: Controller;

  constructor(deps: ControllerDeps) {
    this.#deps = deps;
    this.#services = deps.informers.informer(services);
    this.#pods = deps.informers.informer(pods);
    this.#nodes = deps.informers.informer(nodes);
    this.#slices = deps.informers.informer(endpointSlices, {
      indexers: { [serviceIndex]: sliceKeys(managedByUs) },
    });
    this.#controller = new Controller({
      name: 'endpointslice-controller',
      clock: deps.clock,
      logger: deps.logger,
      workers: 5,
      reconcile: (key, signal) => this.#reconcile(key, signal),
    });
    this.#controller.watch(this.#services);
    this.#controller.watch(this.#slices, sliceKeys(managedByUs));
    this.#controller.watchWith(this.#pods, {
      onAdd: (pod) => this.#enqueueFor(pod),
      onUpdate: (old, pod) => {
        if (!isSameEndpoint(old, pod)) [old, pod].forEach((either) => this.#enqueueFor(either));
      },
      onDelete: (pod) => this.#enqueueFor(pod),
    });
    // Only the zone of a node matters here, and it is read when something else changes.
    this.#controller.watchWith(this.#nodes, {});
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#controller.run(signal);
  }

  #enqueueFor(pod: Pod): void {
    for (const key of servicesOf(pod, this.#services.lister)) this.#controller.enqueue(key);
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { namespace, name } = parseKey(key);
    const service = this.#services.lister.get(namespace, name);
    const existing = this.#slices.lister.byIndex(serviceIndex, key);
    // The garbage collector removes the slices of a Service that is gone.
    if (service === undefined || service.metadata.deletionTimestamp !== undefined) return {};
    const { selector, type } = service.spec;
    if (selector === undefined || type === 'ExternalName') return {};
    const selected = this.#pods.lister.list({ namespace, selector: labelsMatcher(selector) });
    const view = { service, pods: selected, nodes: this.#nodesByName() };
    const types = addressTypes(service);
    for (const addressType of types) {
      const groups = endpointGroups(view, addressType);
      const slices = existing.filter((slice) => slice.addressType === addressType);
      await applySlices(
        this.#deps.client,
        planSlices({ owner: ownerOfService(service), addressType, existing: slices, groups }),
      );
      if (signal.aborted) return {};
    }
    // Slices of a family the Service no longer has.
    const stale = existing.filter(
      ({ addressType }) => !types.some((type_) => type_ === addressType),
    );
    await applySlices(this.#deps.client, { create: [], update: [], remove: stale });
    return {};
  }

  #nodesByName(): Map<string, Node> {
    return new Map(this.#nodes.lister.list().map((node) => [node.metadata.name, node]));
  }
}

export async function applySlices(client: RestClient, changes: SliceChanges): Promise<void> {
  for (const slice of changes.create) await client.create(endpointSlices, slice);
  for (const slice of changes.update) await client.update(endpointSlices, slice);
  for (const { metadata } of changes.remove) {
    const { namespace, name, uid } = metadata;
    const options = { preconditions: { uid } };
    await client.delete(endpointSlices, { namespace, name }, options).catch(ignoreNotFound);
  }
}

/** The key of the Service whose slice it is, if `managedBy` made it. */
export function sliceKeys(managedBy: string): (slice: EndpointSlice) => string[] {
  return ({ metadata }) => {
    const service = metadata.labels?.[serviceNameLabel];
    if (service === undefined || metadata.labels?.[managedByLabel] !== managedBy) return [];
    return [`${metadata.namespace}/${service}`];
  };
}

/** Keys of the Services that choose the pod. */
export function servicesOf({ metadata }: Pod, lister: Lister<Service>): string[] {
  return lister
    .list({ namespace: metadata.namespace ?? '' })
    .filter(
      ({ spec: { selector } }) =>
        selector !== undefined && labelsMatcher(selector).matches(metadata.labels),
    )
    .map((service) => keyOf(service));
}

/** Whether the change means nothing to any Service. */
export function isSameEndpoint(old: Pod, pod: Pod): boolean {
  return deepEqual(endpointFacts(old), endpointFacts(pod));
}

function endpointFacts(pod: Pod): unknown {
  const { labels, deletionTimestamp } = pod.metadata;
  const { phase, podIP, podIPs } = pod.status ?? {};
  return [labels, deletionTimestamp, phase, podIP, podIPs, isPodReady(pod), pod.spec.nodeName];
}
