// Lets a PersistentVolumeClaim that is being deleted go once no pod uses it.
// Source: kubernetes pkg/controller/volume/pvcprotection.
import type { PersistentVolumeClaim, Pod } from '#kube/api/core.ts';
import { Controller } from '#kube/client/controller.ts';
import { keyOf, parseKey, persistentVolumeClaims, pods } from '#kube/client/resources.ts';
import { getControllerOf } from '#kube/machinery/ownership.ts';
import { podClaims } from '#kube/machinery/volume-binding.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';
import { planProtection, setFinalizers } from './finalizer.ts';

const finalizer = 'kubernetes.io/pvc-protection';
const claimIndex = 'claim';

export function createClaimProtectionController(deps: ControllerDeps): RunnableController {
  const claims = deps.informers.informer(persistentVolumeClaims);
  const allPods = deps.informers.informer(pods, { indexers: { [claimIndex]: claimKeys } });
  const controller = new Controller({
    name: 'pvc-protection-controller',
    clock: deps.clock,
    logger: deps.logger,
    reconcile,
  });
  controller.watch(claims);
  controller.watch(allPods, (pod) =>
    claimKeys(pod).filter(
      (key) => claims.lister.getByKey(key)?.metadata.deletionTimestamp !== undefined,
    ),
  );

  async function reconcile(key: string): Promise<void> {
    const claim = claims.lister.getByKey(key);
    if (claim === undefined) return;
    const plan = planProtection(claim.metadata, finalizer);
    if (plan === undefined) return;
    if (claim.metadata.deletionTimestamp !== undefined && (await isUsed(claim))) return;
    await setFinalizers(deps.client, persistentVolumeClaims, claim.metadata, plan);
  }

  /** The cache may lack a pod that was made just now: before the claim goes, the API is asked. */
  async function isUsed(claim: PersistentVolumeClaim): Promise<boolean> {
    if (allPods.lister.byIndex(claimIndex, keyOf(claim)).some((pod) => usesClaim(pod, claim)))
      return true;
    const { namespace } = parseKey(keyOf(claim));
    const { items } = await deps.client.list(pods, { namespace });
    return items.some((pod) => usesClaim(pod, claim));
  }

  return controller;
}

/** Keys of all claims the pod may use. */
function claimKeys(pod: Pod): string[] {
  return podClaims(pod).map(({ name }) => `${pod.metadata.namespace}/${name}`);
}

/** A pod that has no node can't start any more with a claim that is being deleted. */
export function usesClaim(pod: Pod, claim: PersistentVolumeClaim): boolean {
  if ((pod.spec.nodeName ?? '') === '') return false;
  return podClaims(pod).some(({ name, isEphemeral }) => {
    if (name !== claim.metadata.name) return false;
    if (!isEphemeral) return true;
    return !isShutDown(pod) && getControllerOf(claim)?.uid === pod.metadata.uid;
  });
}

/** Its node is done with it. Else pod and claim could wait for each other. */
function isShutDown({ metadata }: Pod): boolean {
  return metadata.deletionTimestamp !== undefined && metadata.deletionGracePeriodSeconds === 0;
}
