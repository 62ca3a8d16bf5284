// Binds claims to volumes and tells of both how they stand. One worker for both kinds: no volume is
// promised twice from one cache; from a stale one the API server refuses the write.
// Invariant: the volume is written first. A claim that says it is bound always has a volume that says so.
// Source: kubernetes pkg/controller/volume/persistentvolume.
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/core.ts';
import type { StorageClass } from '#kube/api/storage.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { Controller } from '#kube/client/controller.ts';
import {
  keyOf,
  parseKey,
  persistentVolumeClaims,
  persistentVolumes,
  storageClasses,
} from '#kube/client/resources.ts';
import { storageClassOf } from '#kube/machinery/quota/evaluators.ts';
import { isFullyBound, volumeAnnotations } from '#kube/machinery/volume-binding.ts';
import { recorderFor, type ControllerDeps, type RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';
import { planClaim, planVolume, type PlannedEvent } from './plan.ts';

const [claimPrefix, volumePrefix] = ['claim ', 'volume '];
/** By storage class: claims that have no volume yet. */
const unboundIndex = 'unbound';

const claimKey = (claim: PersistentVolumeClaim) => claimPrefix + keyOf(claim);
const volumeKey = (name: string) => volumePrefix + name;

export function createVolumeBinder(deps: ControllerDeps): RunnableController {
  const { client, clock, logger } = deps;
  const events = recorderFor(deps, 'persistentvolume-controller');
  const volumes = deps.informers.informer(persistentVolumes);
  const claims = deps.informers.informer(persistentVolumeClaims, {
    indexers: { [unboundIndex]: (claim) => (isFullyBound(claim) ? [] : [storageClassOf(claim)]) },
  });
  const classes = deps.informers.informer(storageClasses);
  const controller = new Controller({
    name: 'persistentvolume-binder-controller',
    clock,
    logger,
    reconcile: (key) =>
      key.startsWith(claimPrefix)
        ? syncClaim(key.slice(claimPrefix.length))
        : syncVolume(key.slice(volumePrefix.length)),
  });
  controller.watch(claims, (claim) => {
    const { volumeName = '' } = claim.spec;
    return [claimKey(claim), ...(volumeName === '' ? [] : [volumeKey(volumeName)])];
  });
  controller.watch(volumes, (volume) => {
    const { claimRef, storageClassName = '' } = volume.spec;
    const own = volumeKey(volume.metadata.name);
    if (claimRef !== undefined)
      return [`${claimPrefix}${claimRef.namespace}/${claimRef.name}`, own];
    return [own, ...claims.lister.byIndex(unboundIndex, storageClassName).map(claimKey)];
  });
  controller.watch(classes, ({ metadata }: StorageClass) =>
    claims.lister.byIndex(unboundIndex, metadata.name).map(claimKey),
  );

  async function syncClaim(key: string): Promise<void> {
    const claim = claims.lister.getByKey(key);
    if (claim === undefined) return;
    const storageClass = (name: string) => classes.lister.get('', name);
    const plan = planClaim(claim, { volumes: volumes.lister.list(), storageClass });
    switch (plan.type) {
      case 'bind':
        return bind(plan.volume, claim);
      case 'provision':
        tell(claim, plan.event);
        await setClaimPhase(claim, 'Pending');
        return askProvisioner(claim, plan.provisioner);
      case 'wait':
        if (plan.event !== undefined) tell(claim, plan.event);
        return setClaimPhase(claim, 'Pending');
      case 'lost':
        if (claim.status?.phase !== 'Lost') tell(claim, plan.event);
        return setClaimPhase(claim, 'Lost');
    }
  }

  async function syncVolume(name: string): Promise<void> {
    const volume = volumes.lister.get('', name);
    if (volume === undefined) return;
    const plan = planVolume(volume, await claimOf(volume));
    switch (plan.type) {
      case 'phase':
        return void (await setVolumePhase(volume, plan.phase));
      case 'failed':
        if (volume.status?.phase !== 'Failed') tell(volume, plan.event);
        return void (await setVolumePhase(volume, 'Failed', plan.event.message));
      case 'tell-claim': {
        const { namespace, name: claimName } = volume.spec.claimRef ?? {};
        return controller.enqueue(`${claimPrefix}${namespace}/${claimName}`);
      }
      case 'unbind':
        return unbind(volume);
    }
  }

  /** Before a volume counts as released the API is asked: the cache may lack a claim. */
  async function claimOf({ spec }: PersistentVolume): Promise<PersistentVolumeClaim | undefined> {
    const { namespace = '', name = '', uid = '' } = spec.claimRef ?? {};
    if (uid === '') return undefined;
    const cached = claims.lister.get(namespace, name);
    if (cached?.metadata.uid === uid) return cached;
    const live = await client
      .get(persistentVolumeClaims, { namespace, name })
      .catch(ignoreNotFound);
    return live?.metadata.uid === uid ? live : undefined;
  }

  async function bind(volume: PersistentVolume, claim: PersistentVolumeClaim): Promise<void> {
    const promised = await promise(volume, claim);
    const bound = await setVolumePhase(promised, 'Bound');
    const { annotations = {} } = claim.metadata;
    const isOurChoice = (claim.spec.volumeName ?? '') === '';
    let told = claim;
    if (isOurChoice || annotations[volumeAnnotations.bindCompleted] === undefined)
      told = await client.update(persistentVolumeClaims, {
        ...claim,
        metadata: {
          ...claim.metadata,
          annotations: {
            ...annotations,
            ...(isOurChoice ? { [volumeAnnotations.boundByController]: 'yes' } : {}),
            [volumeAnnotations.bindCompleted]: 'yes',
          },
        },
        spec: { ...claim.spec, volumeName: bound.metadata.name },
      });
    const { accessModes, capacity } = bound.spec;
    // What it has grown to since is the provisioner's to tell.
    const isNew = told.status?.phase !== 'Bound';
    if (isNew)
      await client.updateStatus(persistentVolumeClaims, {
        ...told,
        status: { ...told.status, phase: 'Bound', accessModes, capacity },
      });
  }

  async function promise(
    volume: PersistentVolume,
    { metadata }: PersistentVolumeClaim,
  ): Promise<PersistentVolume> {
    const { claimRef } = volume.spec;
    if ((claimRef?.uid ?? '') !== '') return volume;
    const { namespace, name, uid, resourceVersion } = metadata;
    const { annotations = {} } = volume.metadata;
    const ours: Record<string, string> =
      claimRef === undefined ? { [volumeAnnotations.boundByController]: 'yes' } : {};
    return client.update(persistentVolumes, {
      ...volume,
      metadata: { ...volume.metadata, annotations: { ...annotations, ...ours } },
      spec: {
        ...volume.spec,
        claimRef: {
          apiVersion: 'v1',
          kind: 'PersistentVolumeClaim',
          namespace,
          name,
          uid,
          resourceVersion,
        },
      },
    });
  }

  /** A promise of ours is taken back whole; a person's stays, without the uid of the claim that is gone. */
  async function unbind(volume: PersistentVolume): Promise<void> {
    const { [volumeAnnotations.boundByController]: ours, ...annotations } =
      volume.metadata.annotations ?? {};
    const { claimRef, ...spec } = volume.spec;
    const { uid: _uid, resourceVersion: _version, ...named } = claimRef ?? {};
    const freed = await client.update(persistentVolumes, {
      ...volume,
      metadata: { ...volume.metadata, annotations },
      spec: ours === undefined ? { ...spec, claimRef: named } : spec,
    });
    await setVolumePhase(freed, 'Available');
  }

  async function setVolumePhase(
    volume: PersistentVolume,
    phase: string,
    message?: string,
  ): Promise<PersistentVolume> {
    const { status = {} } = volume;
    if (status.phase === phase && status.message === message) return volume;
    const { message: _, ...rest } = status;
    const lastPhaseTransitionTime = rfc3339(clock.now());
    const next = {
      ...rest,
      phase,
      ...(status.phase === phase ? {} : { lastPhaseTransitionTime }),
      ...(message === undefined ? {} : { message }),
    };
    return client.updateStatus(persistentVolumes, { ...volume, status: next });
  }

  async function setClaimPhase(claim: PersistentVolumeClaim, phase: string): Promise<void> {
    if (claim.status?.phase === phase) return;
    await client
      .updateStatus(persistentVolumeClaims, { ...claim, status: { ...claim.status, phase } })
      .catch(ignoreNotFound);
  }

  async function askProvisioner(claim: PersistentVolumeClaim, provisioner: string): Promise<void> {
    const { annotations = {}, uid, resourceVersion } = claim.metadata;
    if (annotations[volumeAnnotations.provisioner] === provisioner) return;
    const names = [volumeAnnotations.provisioner, volumeAnnotations.oldProvisioner];
    const added = Object.fromEntries(names.map((name) => [name, provisioner]));
    const patch = { metadata: { uid, resourceVersion, annotations: added } };
    const ref = parseKey(keyOf(claim));
    await client.patch(persistentVolumeClaims, ref, patch).catch(ignoreNotFound);
  }

  function tell(
    about: PersistentVolume | PersistentVolumeClaim,
    { type, reason, message }: PlannedEvent,
  ): void {
    events.event(about, type, reason, message);
  }

  return controller;
}
