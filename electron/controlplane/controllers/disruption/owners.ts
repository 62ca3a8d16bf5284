// How many pods the owners of some pods want: of what this process follows by its copies, of anything
// else by its scale. Source: kubernetes pkg/controller/disruption/disruption.go (finders).
import type { Scale } from '#kube/api/autoscaling.ts';
import type { Pod } from '#kube/api/core.ts';
import type { OwnerReference } from '#kube/api/meta.ts';
import type { Controller } from '#kube/client/controller.ts';
import { type DiscoveredResource, discoverResources } from '#kube/client/discovery.ts';
import { deployments, replicaSets, replicationControllers } from '#kube/client/resources.ts';
import { apiVersionOf } from '#kube/machinery/gvk.ts';
import { getControllerOf } from '#kube/machinery/ownership.ts';
import { hasReason } from '#kube/machinery/status.ts';
import type { ControllerDeps } from '../deps.ts';

export interface ScaleOfOwners {
  readonly scale: number;
  /** Names of pods that nobody owns. */
  readonly unmanaged: readonly string[];
}

interface OwnerScale {
  readonly uid: string;
  readonly replicas: number;
}

export class PodOwners {
  readonly #deps: ControllerDeps;
  readonly #sets;
  readonly #deployments;
  readonly #controllers;
  /** What was served when a kind was first needed; asked for anew when one is not in it. */
  #served: readonly DiscoveredResource[] = [];

  constructor(deps: ControllerDeps) {
    this.#deps = deps;
    this.#sets = deps.informers.informer(replicaSets);
    this.#deployments = deps.informers.informer(deployments);
    this.#controllers = deps.informers.informer(replicationControllers);
  }

  /** Owners have to be known before the first question. */
  addTo(controller: Controller): void {
    controller.watchWith(this.#sets, {});
    controller.watchWith(this.#deployments, {});
    controller.watchWith(this.#controllers, {});
  }

  /** Throws when an owner is gone, or can't be scaled. */
  async scaleOf(pods: readonly Pod[]): Promise<ScaleOfOwners> {
    const scales = new Map<string, number>();
    const asked = new Set<string>();
    const unmanaged: string[] = [];
    for (const pod of pods) {
      const owner = getControllerOf(pod);
      if (owner === undefined) unmanaged.push(pod.metadata.name);
      else if (!asked.has(owner.uid)) {
        asked.add(owner.uid);
        const found = await this.#find(owner, pod.metadata.namespace ?? '');
        if (found === undefined)
          throw new Error(`found no controllers for pod ${JSON.stringify(pod.metadata.name)}`);
        scales.set(found.uid, found.replicas);
      }
    }
    return { scale: [...scales.values()].reduce((sum, one) => sum + one, 0), unmanaged };
  }

  async #find(owner: OwnerReference, namespace: string): Promise<OwnerScale | undefined> {
    const { name, uid, kind, apiVersion } = owner;
    if (apiVersion === 'apps/v1' && kind === 'ReplicaSet') {
      const set = this.#sets.lister.get(namespace, name);
      if (set?.metadata.uid !== uid) return undefined;
      const above = getControllerOf(set);
      if (above?.kind !== 'Deployment') return { uid, replicas: set.spec?.replicas ?? 1 };
      const deployment = this.#deployments.lister.get(namespace, above.name);
      if (deployment?.metadata.uid !== above.uid) return undefined;
      return { uid: above.uid, replicas: deployment.spec?.replicas ?? 1 };
    }
    if (apiVersion === 'v1' && kind === 'ReplicationController') {
      const found = this.#controllers.lister.get(namespace, name);
      return found?.metadata.uid === uid ? { uid, replicas: found.spec?.replicas ?? 1 } : undefined;
    }
    return this.#scaleOf(owner, namespace);
  }

  async #scaleOf(owner: OwnerReference, namespace: string): Promise<OwnerScale | undefined> {
    const { client } = this.#deps;
    const resource = await this.#resourceOf(owner);
    if (resource === undefined) return undefined;
    const { name, uid } = owner;
    try {
      const scale = (await client.getSubresource(resource, { namespace, name }, 'scale')) as Scale;
      if (scale.metadata.uid !== uid) return undefined;
      return { uid, replicas: scale.spec?.replicas ?? 0 };
    } catch (error) {
      if (!hasReason(error, 'NotFound')) throw error;
      const { group, resource: plural } = resource;
      const what = group === '' ? plural : `${plural}.${group}`;
      throw new Error(`${what} does not implement the scale subresource`, { cause: error });
    }
  }

  async #resourceOf({ apiVersion, kind }: OwnerReference): Promise<DiscoveredResource | undefined> {
    const find = () =>
      this.#served.find((one) => one.kind === kind && apiVersionOf(one) === apiVersion);
    const known = find();
    if (known !== undefined) return known;
    this.#served = (await discoverResources(this.#deps.client)).resources;
    return find();
  }
}
