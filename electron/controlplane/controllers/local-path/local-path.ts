// Makes a volume for each claim of a local-path class: a directory on the node that the scheduler chose.
// The directory itself is its agent's to make and to remove (agent/kubelet/volumes/claims/local-volumes.ts).
// Source: sig-storage-lib-external-provisioner controller/controller.go.
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/core.ts';
import { Controller } from '#kube/client/controller.ts';
import {
  keyOf,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  storageClasses,
} from '#kube/client/resources.ts';
import { compareQuantities } from '#kube/machinery/quantity.ts';
import { storageClassOf } from '#kube/machinery/quota/evaluators.ts';
import { hasReason } from '#kube/machinery/status.ts';
import {
  capacityOf,
  localPath,
  requestedSize,
  volumeAnnotations,
} from '#kube/machinery/volume-binding.ts';
import { recorderFor, type ControllerDeps, type RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';
import { setFinalizers } from '../volume-protection/finalizer.ts';
import { planProvision } from './plan.ts';

const claimPrefix = 'claim ';
/** By node: claims that wait for a volume on it. */
const waitingIndex = 'waiting';

function isOurs({ metadata }: PersistentVolume): boolean {
  return metadata.annotations?.[volumeAnnotations.provisionedBy] === localPath.provisioner;
}

/** The node that a claim waits for a volume on; undefined: it does not. */
function chosenNode({ metadata, spec }: PersistentVolumeClaim): string | undefined {
  const { annotations = {}, deletionTimestamp } = metadata;
  const isUnbound = (spec.volumeName ?? '') === '' && deletionTimestamp === undefined;
  const isAsked = annotations[volumeAnnotations.provisioner] === localPath.provisioner;
  return isUnbound && isAsked ? (annotations[volumeAnnotations.selectedNode] ?? '') : undefined;
}

export function createLocalPathProvisioner(deps: ControllerDeps): RunnableController {
  const { client, clock, logger } = deps;
  const events = recorderFor(deps, localPath.provisioner);
  const volumes = deps.informers.informer(persistentVolumes);
  const claims = deps.informers.informer(persistentVolumeClaims, {
    indexers: {
      [waitingIndex]: (claim) => {
        const node = chosenNode(claim);
        return node === undefined ? [] : [node];
      },
    },
  });
  const classes = deps.informers.informer(storageClasses);
  const allNodes = deps.informers.informer(nodes);
  const controller = new Controller({
    name: 'local-path-provisioner',
    clock,
    logger,
    reconcile: (key) =>
      key.startsWith(claimPrefix) ? syncClaim(key.slice(claimPrefix.length)) : syncVolume(key),
  });
  const claimKey = (claim: PersistentVolumeClaim) => claimPrefix + keyOf(claim);
  controller.watch(claims, (claim) => [claimKey(claim)]);
  controller.watch(volumes, (volume) => (isOurs(volume) ? [volume.metadata.name] : []));
  controller.watchWith(allNodes, {
    onUpdate(old, { metadata }) {
      const folderOf = (given: typeof metadata) => given.annotations?.[localPath.folderAnnotation];
      if (folderOf(old.metadata) === folderOf(metadata)) return;
      for (const claim of claims.lister.byIndex(waitingIndex, metadata.name))
        controller.enqueue(claimKey(claim));
    },
    onDelete: ({ metadata }) => {
      for (const volume of volumes.lister.list())
        if (volume.metadata.labels?.[localPath.nodeLabel] === metadata.name)
          controller.enqueue(volume.metadata.name);
    },
  });

  async function syncClaim(key: string): Promise<void> {
    const claim = claims.lister.getByKey(key);
    if (claim === undefined) return;
    const nodeName = chosenNode(claim);
    if (nodeName !== undefined) return provision(claim, nodeName);
    const volume = volumes.lister.get('', claim.spec.volumeName ?? '');
    if (volume !== undefined && isOurs(volume)) await expand(claim, volume);
  }

  async function provision(claim: PersistentVolumeClaim, nodeName: string): Promise<void> {
    const storageClass = classes.lister.get('', storageClassOf(claim));
    if (storageClass === undefined) return;
    if (nodeName === '') {
      const why = `storage class "${storageClass.metadata.name}" needs volumeBindingMode WaitForFirstConsumer: no node was chosen`;
      return events.event(claim, 'Warning', 'ProvisioningFailed', why);
    }
    // Made already, and the binder has not come to it.
    if (volumes.lister.get('', `pvc-${claim.metadata.uid}`) !== undefined) return;
    const plan = planProvision(claim, storageClass, allNodes.lister.get('', nodeName));
    if (plan.type === 'refuse') {
      const message = `failed to provision volume with StorageClass "${storageClass.metadata.name}": ${plan.why}`;
      events.event(claim, 'Warning', 'ProvisioningFailed', message);
      return plan.isOtherNodeBetter ? giveBack(claim) : undefined;
    }
    try {
      await client.create(persistentVolumes, plan.volume);
    } catch (error) {
      if (!hasReason(error, 'AlreadyExists')) throw error;
      return;
    }
    const message = `Successfully provisioned volume ${plan.volume.metadata.name}`;
    events.event(claim, 'Normal', 'ProvisioningSucceeded', message);
  }

  /** Without the annotation the scheduler chooses again. */
  async function giveBack({ metadata }: PersistentVolumeClaim): Promise<void> {
    const { uid, resourceVersion, namespace, name } = metadata;
    const annotations = { [volumeAnnotations.selectedNode]: null };
    const patch = { metadata: { uid, resourceVersion, annotations } };
    await client.patch(persistentVolumeClaims, { namespace, name }, patch).catch(ignoreNotFound);
  }

  /** A directory has the room that its disk has: growing is a matter of what is written down. */
  async function expand(claim: PersistentVolumeClaim, volume: PersistentVolume): Promise<void> {
    const storage = requestedSize(claim);
    if (claim.status?.phase !== 'Bound') return;
    if (compareQuantities(storage, capacityOf(volume)) > 0)
      await client.update(persistentVolumes, {
        ...volume,
        spec: { ...volume.spec, capacity: { storage } },
      });
    if (compareQuantities(storage, claim.status.capacity?.['storage'] ?? '0') <= 0) return;
    const status = { ...claim.status, capacity: { storage } };
    await client.updateStatus(persistentVolumeClaims, { ...claim, status }).catch(ignoreNotFound);
  }

  async function syncVolume(name: string): Promise<void> {
    const volume = volumes.lister.get('', name);
    if (volume === undefined) return;
    const { metadata, spec, status } = volume;
    const { uid = '', resourceVersion = '', finalizers = [], deletionTimestamp } = metadata;
    if (deletionTimestamp === undefined) {
      if (status?.phase !== 'Released' || spec.persistentVolumeReclaimPolicy !== 'Delete') return;
      const options = { preconditions: { uid, resourceVersion } };
      await client.delete(persistentVolumes, { name }, options).catch(ignoreNotFound);
      return;
    }
    const nodeName = metadata.labels?.[localPath.nodeLabel] ?? '';
    if (!finalizers.includes(localPath.finalizer) || (await hasNode(nodeName))) return;
    // Whoever took the machine away has the directory, too.
    const rest = finalizers.filter((finalizer) => finalizer !== localPath.finalizer);
    await setFinalizers(client, persistentVolumes, metadata, rest);
    logger.info('A volume went without its machine', { volume: name, node: nodeName });
  }

  async function hasNode(name: string): Promise<boolean> {
    if (allNodes.lister.get('', name) !== undefined) return true;
    if (name === '') return false;
    return (await client.get(nodes, { name }).catch(ignoreNotFound)) !== undefined;
  }

  return controller;
}
