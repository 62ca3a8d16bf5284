// One object of any kind, live: an informer of its own that watches this one name and ends with the
// component or the choice.
import { type ShallowRef, onScopeDispose, shallowRef, watch } from 'vue';
import type { KubeObject } from '#kube/api/object.ts';
import { Informer } from '#kube/client/informer.ts';
import type { Resource } from '#kube/client/resources.ts';
import { useCluster } from './cluster.ts';

export interface ObjectChoice {
  readonly resource: Resource;
  readonly namespace: string;
  readonly name: string;
}

export function useLiveObject(choice: () => ObjectChoice | undefined): {
  object: ShallowRef<KubeObject | undefined>;
} {
  const { informers } = useCluster();
  const object = shallowRef<KubeObject>();
  let abort: AbortController | undefined;
  watch(
    choice,
    (chosen) => {
      abort?.abort();
      object.value = undefined;
      if (chosen === undefined) return;
      abort = new AbortController();
      const { resource, namespace, name } = chosen;
      const informer = new Informer<KubeObject>(informers.deps, {
        resource,
        fieldSelector: `metadata.name=${name}`,
        ...(namespace !== '' && { namespace }),
      });
      informer.addHandler({
        onAdd: (found) => (object.value = found),
        onUpdate: (_old, found) => (object.value = found),
        onDelete: () => (object.value = undefined),
      });
      informer.start(abort.signal);
    },
    { immediate: true },
  );
  onScopeDispose(() => abort?.abort());
  return { object };
}
