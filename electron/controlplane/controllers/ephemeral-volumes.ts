// Makes the claims of generic ephemeral volumes: one for each such volume of a pod, owned by the pod and gone
// with it. Source: kubernetes pkg/controller/volume/ephemeral/controller.go.
import type { PersistentVolumeClaim, Pod } from '#kube/api/core.ts';
import { Controller } from '#kube/client/controller.ts';
import { keyOf, persistentVolumeClaims, pods } from '#kube/client/resources.ts';
import { controllerRef, getControllerOf } from '#kube/machinery/ownership.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { podClaims, type PodClaim } from '#kube/machinery/volume-binding.ts';
import { recorderFor, type ControllerDeps, type RunnableController } from './deps.ts';

const podIndex = 'pod-of-ephemeral-claim';

export function createEphemeralVolumeController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger } = deps;
  const events = recorderFor(deps, 'ephemeral_volume');
  const claims = deps.informers.informer(persistentVolumeClaims);
  const allPods = deps.informers.informer(pods, {
    indexers: {
      [podIndex]: (pod) =>
        ephemeralOf(pod).map(({ name }) => `${pod.metadata.namespace ?? ''}/${name}`),
    },
  });
  const controller = new Controller({
    name: 'ephemeral-volume-controller',
    clock,
    logger,
    async reconcile(key) {
      const pod = allPods.lister.getByKey(key);
      if (pod === undefined || pod.metadata.deletionTimestamp !== undefined) return;
      for (const used of ephemeralOf(pod)) await ensure(pod, used);
    },
  });
  controller.watch(allPods, (pod) => (ephemeralOf(pod).length === 0 ? [] : [keyOf(pod)]));
  // One that was deleted by hand is made again.
  controller.watchWith(claims, {
    onDelete(claim) {
      for (const pod of allPods.lister.byIndex(podIndex, keyOf(claim)))
        controller.enqueue(keyOf(pod));
    },
  });

  async function ensure(pod: Pod, { name, volume }: PodClaim): Promise<void> {
    const { namespace = '', uid } = pod.metadata;
    const existing = claims.lister.get(namespace, name);
    if (existing !== undefined) {
      if (getControllerOf(existing)?.uid === uid) return;
      const message = `PVC ${namespace}/${name} was not created for pod ${keyOf(pod)} (pod is not owner)`;
      return events.event(pod, 'Warning', 'FailedBinding', message);
    }
    const template = volume.ephemeral?.volumeClaimTemplate;
    if (template === undefined) return;
    const { labels, annotations } = template.metadata ?? {};
    const claim: PersistentVolumeClaim = {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: {
        namespace,
        name,
        ownerReferences: [controllerRef(pod)],
        ...(labels === undefined ? {} : { labels }),
        ...(annotations === undefined ? {} : { annotations }),
      },
      spec: template.spec,
    };
    try {
      await client.create(persistentVolumeClaims, claim);
    } catch (error) {
      // The cache will show whose it is.
      if (hasReason(error, 'AlreadyExists')) throw error;
      const why = error instanceof Error ? error.message : String(error);
      events.event(pod, 'Warning', 'FailedBinding', `ephemeral volume ${volume.name}: ${why}`);
      throw error;
    }
  }

  return controller;
}

function ephemeralOf(pod: Pod): PodClaim[] {
  return podClaims(pod).filter(({ isEphemeral }) => isEphemeral);
}
