// Lets a PersistentVolume that is being deleted go once no claim is bound to it.
// Source: kubernetes pkg/controller/volume/pvprotection.
import { Controller } from '#kube/client/controller.ts';
import { persistentVolumes } from '#kube/client/resources.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';
import { planProtection, setFinalizers } from './finalizer.ts';

const finalizer = 'kubernetes.io/pv-protection';

export function createVolumeProtectionController(deps: ControllerDeps): RunnableController {
  const volumes = deps.informers.informer(persistentVolumes);
  const controller = new Controller({
    name: 'pv-protection-controller',
    clock: deps.clock,
    logger: deps.logger,
    reconcile,
  });
  controller.watch(volumes);

  async function reconcile(name: string): Promise<void> {
    const volume = volumes.lister.get('', name);
    if (volume === undefined) return;
    const plan = planProtection(volume.metadata, finalizer);
    if (plan === undefined) return;
    const isDeleting = volume.metadata.deletionTimestamp !== undefined;
    if (isDeleting && volume.status?.phase === 'Bound') return;
    await setFinalizers(deps.client, persistentVolumes, volume.metadata, plan);
  }

  return controller;
}
