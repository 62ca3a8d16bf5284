// Collections of the cluster as shallow refs, live by list and watch. Changes are taken over at most
// once per animation frame, however many events came; objects are frozen and never made reactive.
import {
  type ComputedRef,
  type ShallowRef,
  computed,
  getCurrentScope,
  onScopeDispose,
  shallowRef,
} from 'vue';
import type { KubeObject } from '#kube/api/object.ts';
import type { Informer } from '#kube/client/informer.ts';
import type { ObjectRef, Resource } from '#kube/client/resources.ts';
import { useCluster } from './cluster.ts';
import { nextFrame } from './frame.ts';

export interface ResourceQuery {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface LiveList<T> {
  readonly items: ShallowRef<readonly T[]>;
  /** False only until the first list has come. */
  readonly isLoaded: ShallowRef<boolean>;
}

/** Stops following with the component; the shared watch behind it lives on. */
export function useResources<T extends KubeObject>(
  resource: Resource<T>,
  query: ResourceQuery = {},
): LiveList<T> {
  const informer = useCluster().informers.informer<T>(resource, query);
  const live = followInformer(informer, nextFrame);
  if (getCurrentScope() !== undefined) onScopeDispose(live.stop);
  return live;
}

export interface LiveObject<T> {
  readonly object: ComputedRef<T | undefined>;
  readonly isLoaded: ShallowRef<boolean>;
}

/** One object of the shared collection. */
export function useResource<T extends KubeObject>(
  resource: Resource<T>,
  ref: () => ObjectRef,
): LiveObject<T> {
  const { items, isLoaded } = useResources(resource);
  const object = computed(() => {
    const { namespace = '', name } = ref();
    return items.value.find(
      ({ metadata }) => metadata.name === name && (metadata.namespace ?? '') === namespace,
    );
  });
  return { object, isLoaded };
}

/** `schedule` runs its callback once, soon: the next frame, or at once in tests. */
export function followInformer<T extends KubeObject>(
  informer: Informer<T>,
  schedule: (callback: () => void) => () => void,
): LiveList<T> & { stop: () => void } {
  const items = shallowRef<readonly T[]>(informer.lister.list());
  const isLoaded = shallowRef(informer.hasSynced);
  let cancel: (() => void) | undefined;
  function refresh(): void {
    cancel = undefined;
    items.value = informer.lister.list();
    isLoaded.value = informer.hasSynced;
  }
  function touch(): void {
    cancel ??= schedule(refresh);
  }
  const remove = informer.addHandler({ onAdd: touch, onUpdate: touch, onDelete: touch });
  // An empty first list causes no event of its own.
  void informer.whenSynced().then(touch);
  function stop(): void {
    remove();
    cancel?.();
  }
  return { items, isLoaded, stop };
}
