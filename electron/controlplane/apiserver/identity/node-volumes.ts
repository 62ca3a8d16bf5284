// What a node may do with volumes: read the claims of its pods, the volumes that serve them, and the Secrets
// those are mounted with; follow the directories that lie on it.
// Differs: it may also write two annotations to such a volume and take a finalizer off its own directories
// (NodeRestriction checks that it is no more), since here the agent is what makes and removes them.
// Source: kubernetes plugin/pkg/auth/authorizer/node/graph_populator.go.
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/core.ts';
import { localPath, podClaims } from '#kube/machinery/volume-binding.ts';
import type { AuthorizationAttributes } from './authorizer.ts';

export interface NodeVolumes {
  claim(namespace: string, name: string): PersistentVolumeClaim | undefined;
  volume(name: string): PersistentVolume | undefined;
}

export function usesClaim(pods: readonly Pod[], namespace: string, name: string): boolean {
  return pods.some(
    (pod) =>
      pod.metadata.namespace === namespace && podClaims(pod).some((used) => used.name === name),
  );
}

export function ownVolumesSelector(nodeName: string): string {
  return `${localPath.nodeLabel}=${nodeName}`;
}

/** Of one volume: reading and writing; of many: only those labelled as the node's. */
export function mayUseVolume(
  nodeName: string,
  { verb, name, subresource, labelSelector }: AuthorizationAttributes,
  pods: readonly Pod[],
  volumes: NodeVolumes,
): boolean {
  if (subresource !== '') return false;
  if (verb === 'list' || verb === 'watch') return labelSelector === ownVolumesSelector(nodeName);
  if (!['get', 'update', 'patch'].includes(verb)) return false;
  if (volumes.volume(name)?.metadata.labels?.[localPath.nodeLabel] === nodeName) return true;
  return volumesOf(pods, volumes).some(({ metadata }) => metadata.name === name);
}

/** Whether a volume of one of the pods is mounted with the Secret. */
export function isMountedWith(
  pods: readonly Pod[],
  volumes: NodeVolumes,
  secret: { readonly namespace: string; readonly name: string },
): boolean {
  return volumesOf(pods, volumes).some(({ spec }) =>
    [spec.csi?.nodeStageSecretRef, spec.csi?.nodePublishSecretRef].some(
      (ref) => ref?.name === secret.name && ref.namespace === secret.namespace,
    ),
  );
}

function volumesOf(pods: readonly Pod[], volumes: NodeVolumes): PersistentVolume[] {
  return pods.flatMap((pod) => {
    const { namespace = '' } = pod.metadata;
    return podClaims(pod).flatMap(({ name }) => {
      const {
        uid,
        namespace: of,
        name: claimName,
      } = volumes.claim(namespace, name)?.metadata ?? {};
      const volume = volumes.volume(volumes.claim(namespace, name)?.spec.volumeName ?? '');
      const { claimRef } = volume?.spec ?? {};
      // A claim names what it likes: the volume has to agree.
      const isMutual =
        claimRef?.uid === uid && claimRef?.namespace === of && claimRef?.name === claimName;
      return volume !== undefined && isMutual ? [volume] : [];
    });
  });
}
