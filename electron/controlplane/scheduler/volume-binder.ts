// What the scheduler knows of volumes, and what it writes before a pod with claims may be bound: a volume
// is promised to a claim, or a claim is told its node; then the claims have to be bound.
// A decision holds what it took until it is written or given up (`assume`, `forget`).
// Source: kubernetes pkg/scheduler/framework/plugins/volumebinding/{binder,assume_cache}.go.
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/core.ts';
import type { StorageClass } from '#kube/api/storage.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Informer, InformerFactory } from '#kube/client/informer.ts';
import {
  keyOf,
  persistentVolumeClaims,
  persistentVolumes,
  storageClasses,
} from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { isFullyBound, isReachable, volumeAnnotations } from '#kube/machinery/volume-binding.ts';
import type { VolumeView } from './framework.ts';
import type { VolumePlan } from './plugins/volume-binding.ts';

/** As long as Kubernetes waits for somebody to make a volume. */
const bindTimeoutMs = 600_000;

export interface VolumeBinderDeps {
  readonly client: RestClient;
  readonly clock: Clock;
  readonly informers: InformerFactory;
  /** A volume, claim or class is new or differs. */
  readonly onChange: () => void;
}

/** The volumes of a pod can't be had after all; it is tried again. */
export class VolumeBindError extends Error {
  override readonly name = 'VolumeBindError';
}

interface Waiting {
  readonly look: () => void;
  readonly giveUp: (why: string) => void;
}

export class VolumeBinder implements VolumeView {
  readonly #deps: VolumeBinderDeps;
  readonly #claims: Informer<PersistentVolumeClaim>;
  readonly #volumes: Informer<PersistentVolume>;
  readonly #classes: Informer<StorageClass>;
  readonly #taken = new Set<string>();
  /** Key of a claim → node. */
  readonly #chosen = new Map<string, string>();
  /** By pod uid. */
  readonly #waiting = new Map<string, Waiting>();

  constructor(deps: VolumeBinderDeps) {
    this.#deps = deps;
    this.#claims = deps.informers.informer(persistentVolumeClaims);
    this.#volumes = deps.informers.informer(persistentVolumes);
    this.#classes = deps.informers.informer(storageClasses);
    const changed = (): void => {
      for (const { look } of this.#waiting.values()) look();
      deps.onChange();
    };
    const handlers = { onAdd: changed, onUpdate: changed, onDelete: changed };
    this.#claims.addHandler(handlers);
    this.#volumes.addHandler(handlers);
    this.#classes.addHandler(handlers);
  }

  async whenSynced(): Promise<void> {
    const all = [this.#claims, this.#volumes, this.#classes];
    await Promise.all(all.map((informer) => informer.whenSynced()));
  }

  claim(namespace: string, name: string): PersistentVolumeClaim | undefined {
    return this.#claims.lister.get(namespace, name);
  }

  volume(name: string): PersistentVolume | undefined {
    return this.#volumes.lister.get('', name);
  }

  volumes(): readonly PersistentVolume[] {
    return this.#volumes.lister.list();
  }

  storageClass(name: string): StorageClass | undefined {
    return this.#classes.lister.get('', name);
  }

  isTaken(volumeName: string): boolean {
    return this.#taken.has(volumeName);
  }

  chosenNode(claim: PersistentVolumeClaim): string | undefined {
    return this.#chosen.get(keyOf(claim));
  }

  assume({ bindings, provisions, node }: VolumePlan): void {
    for (const { volume } of bindings) this.#taken.add(volume.metadata.name);
    for (const claim of provisions) this.#chosen.set(keyOf(claim), node.metadata.name);
  }

  forget({ bindings, provisions }: VolumePlan): void {
    for (const { volume } of bindings) this.#taken.delete(volume.metadata.name);
    for (const claim of provisions) this.#chosen.delete(keyOf(claim));
  }

  /** Resolves when every claim is bound. Throws VolumeBindError, or what the API server said. */
  async bind(podUid: string, plan: VolumePlan): Promise<void> {
    for (const { claim, volume } of plan.bindings) await this.#promise(claim, volume);
    for (const claim of plan.provisions) await this.#choose(claim, plan.node.metadata.name);
    await this.#whenBound(podUid, plan);
  }

  /** Nobody waits for the pod any more. */
  giveUp(podUid: string, why: string): void {
    this.#waiting.get(podUid)?.giveUp(why);
  }

  close(): void {
    for (const { giveUp } of this.#waiting.values()) giveUp('the scheduler ends');
  }

  async #promise(claim: PersistentVolumeClaim, volume: PersistentVolume): Promise<void> {
    const { namespace, name, uid, resourceVersion } = claim.metadata;
    const { annotations = {} } = volume.metadata;
    const ref = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name, uid };
    const isByHand = volume.spec.claimRef !== undefined;
    if (isByHand && volume.spec.claimRef?.uid === uid) return;
    const ours: Record<string, string> = isByHand
      ? {}
      : { [volumeAnnotations.boundByController]: 'yes' };
    await this.#deps.client.update(persistentVolumes, {
      ...volume,
      metadata: { ...volume.metadata, annotations: { ...annotations, ...ours } },
      spec: { ...volume.spec, claimRef: { ...ref, resourceVersion } },
    });
  }

  async #choose({ metadata }: PersistentVolumeClaim, nodeName: string): Promise<void> {
    const { namespace, name, uid, resourceVersion, annotations = {} } = metadata;
    if (annotations[volumeAnnotations.selectedNode] === nodeName) return;
    const chosen = { [volumeAnnotations.selectedNode]: nodeName };
    const patch = { metadata: { uid, resourceVersion, annotations: chosen } };
    await this.#deps.client.patch(persistentVolumeClaims, { namespace, name }, patch);
  }

  #whenBound(podUid: string, plan: VolumePlan): Promise<void> {
    const { clock } = this.#deps;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const end = (settle: () => void): void => {
      timer.cancel();
      if (this.#waiting.get(podUid) === waiting) this.#waiting.delete(podUid);
      settle();
    };
    const giveUp = (why: string): void => end(() => reject(new VolumeBindError(why)));
    /** Written by us, and perhaps not seen yet. */
    const isSeen = new Set<string>();
    const look = (): void => {
      const state = this.#stateOf(plan, isSeen);
      if (state === 'bound') end(resolve);
      else if (state !== 'waiting') giveUp(state);
    };
    const waiting: Waiting = { look, giveUp };
    const timer = clock.timer(bindTimeoutMs, () => giveUp('timed out waiting for the condition'));
    this.#waiting.set(podUid, waiting);
    look();
    return promise;
  }

  /** Anything else: why it will not come. */
  #stateOf({ bindings, provisions, node }: VolumePlan, isSeen: Set<string>): string {
    const nodeName = node.metadata.name;
    const planned = [...bindings.map(({ claim }) => claim), ...provisions];
    const now = planned.map(({ metadata }) => this.claim(metadata.namespace ?? '', metadata.name));
    const gone = planned.find((claim, i) => now[i]?.metadata.uid !== claim.metadata.uid);
    if (gone !== undefined) return `persistentvolumeclaim "${gone.metadata.name}" not found`;
    // Another pod of the same claim may have been first, or a person.
    const isElsewhere = (claim: PersistentVolumeClaim | undefined): boolean => {
      const volume = this.volume(claim?.spec.volumeName ?? '');
      return volume !== undefined && !isReachable(volume, node);
    };
    const lost = now.find(isElsewhere);
    if (lost !== undefined)
      return `persistentvolumeclaim "${lost.metadata.name}" is bound to a volume that node "${nodeName}" can't reach`;
    if (now.every((claim) => claim !== undefined && isFullyBound(claim))) return 'bound';
    for (const { metadata } of provisions) {
      const claim = this.claim(metadata.namespace ?? '', metadata.name);
      const chosen = claim?.metadata.annotations?.[volumeAnnotations.selectedNode];
      if (chosen === nodeName) isSeen.add(metadata.name);
      else if (isSeen.has(metadata.name))
        return `selectedNode annotation reset for PVC "${metadata.name}"`;
    }
    return 'waiting';
  }
}
