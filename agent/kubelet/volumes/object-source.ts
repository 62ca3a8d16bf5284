// ConfigMaps, Secrets and tokens that the pods of this node refer to, each followed by a watch of its own
// (the node may read no others) for as long as a pod needs it.
// Source: kubernetes pkg/kubelet/util/manager/watch_based_manager.go.
import type { ConfigMap, Pod, Secret, ServiceAccountTokenProjection } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { Informer } from '#kube/client/informer.ts';
import type { ClientDeps } from '#kube/client/reflector.ts';
import { configMaps, secrets, type Resource } from '#kube/client/resources.ts';
import { hasReason } from '#kube/machinery/status.ts';
import type { ClaimedVolume, ClaimSource } from './claims/claim-source.ts';
import { TokenSource, tokenKey } from './token-source.ts';

export interface ObjectSourceDeps {
  readonly client: ClientDeps;
  readonly claims: ClaimSource;
  readonly onChange: (podUid: string) => void;
}

interface Followed {
  readonly informer: Informer<KubeObject>;
  readonly stop: AbortController;
  readonly podUids: Set<string>;
}

/** What one pod refers to, as it is now. */
export interface PodObjects {
  readonly configMap: (name: string) => ConfigMap | undefined;
  readonly secret: (name: string) => Secret | undefined;
  readonly token: (source: ServiceAccountTokenProjection) => string | undefined;
  /** Behind claims, by the name of the pod's volume. */
  readonly claimed?: ReadonlyMap<string, ClaimedVolume>;
}

export class ObjectSource {
  readonly #deps: ObjectSourceDeps;
  /** By `<resource> <namespace>/<name>`. */
  readonly #followed = new Map<string, Followed>();

  readonly #tokens: TokenSource;

  constructor(deps: ObjectSourceDeps) {
    this.#deps = deps;
    this.#tokens = new TokenSource({ client: deps.client, onDue: deps.onChange });
  }

  /** Throws what the API server said, but for "not found". */
  async load(pod: Pod): Promise<PodObjects> {
    const names = referencedObjects(pod);
    const [ofConfigMaps, ofSecrets, tokens, claimed] = await Promise.all([
      this.#loadAll(configMaps, pod, names.configMaps),
      this.#loadAll(secrets, pod, names.secrets),
      this.#tokens.load(pod),
      this.#deps.claims.load(pod),
    ]);
    return {
      configMap: (name) => ofConfigMaps.get(name),
      secret: (name) => ofSecrets.get(name),
      token: (source) => tokens.get(tokenKey(source)),
      claimed,
    };
  }

  /** Nothing of this pod needs anything any more. */
  release(podUid: string): void {
    this.#tokens.release(podUid);
    this.#deps.claims.release(podUid);
    for (const [key, followed] of this.#followed) {
      followed.podUids.delete(podUid);
      if (followed.podUids.size > 0) continue;
      followed.stop.abort();
      this.#followed.delete(key);
    }
  }

  stop(): void {
    this.#tokens.stop();
    for (const { stop } of this.#followed.values()) stop.abort();
    this.#followed.clear();
  }

  async #loadAll<T extends KubeObject>(
    resource: Resource<T>,
    pod: Pod,
    names: ReadonlySet<string>,
  ): Promise<Map<string, T>> {
    const found = new Map<string, T>();
    await Promise.all(
      [...names].map(async (name) => {
        const object = await this.#load(resource, pod, name);
        if (object !== undefined) found.set(name, object);
      }),
    );
    return found;
  }

  async #load<T extends KubeObject>(
    resource: Resource<T>,
    pod: Pod,
    name: string,
  ): Promise<T | undefined> {
    const namespace = pod.metadata.namespace ?? '';
    const { informer } = this.#follow(resource, pod, name);
    if (informer.hasSynced) return informer.lister.get(namespace, name) as T | undefined;
    // Asked directly the first time: a refusal is told at once.
    try {
      return await this.#deps.client.client.get(resource, { namespace, name });
    } catch (error) {
      if (hasReason(error, 'NotFound')) return undefined;
      throw error;
    }
  }

  #follow<T extends KubeObject>(resource: Resource<T>, pod: Pod, name: string): Followed {
    const { namespace = '', uid = '' } = pod.metadata;
    const key = `${resource.resource} ${namespace}/${name}`;
    const existing = this.#followed.get(key);
    existing?.podUids.add(uid);
    if (existing !== undefined) return existing;
    const informer = new Informer<T>(this.#deps.client, {
      resource,
      namespace,
      fieldSelector: `metadata.name=${name}`,
    });
    const stop = new AbortController();
    const followed: Followed = {
      informer: informer as unknown as Informer<KubeObject>,
      stop,
      podUids: new Set([uid]),
    };
    this.#followed.set(key, followed);
    const changed = () => followed.podUids.forEach((podUid) => this.#deps.onChange(podUid));
    informer.addHandler({
      onAdd: (_object, isInInitialList) => {
        if (!isInInitialList) changed();
      },
      onUpdate: changed,
      onDelete: changed,
    });
    informer.start(stop.signal);
    return followed;
  }
}

/** Every ConfigMap and Secret that the pod's spec names. */
export function referencedObjects(pod: Pod): {
  readonly configMaps: ReadonlySet<string>;
  readonly secrets: ReadonlySet<string>;
} {
  const ofConfigMaps = new Set<string>();
  const ofSecrets = new Set<string>();
  const add = (set: Set<string>, name: string | undefined) => {
    if (name !== undefined && name !== '') set.add(name);
  };
  for (const container of [...(pod.spec.initContainers ?? []), ...pod.spec.containers]) {
    for (const source of container.envFrom ?? []) {
      add(ofConfigMaps, source.configMapRef?.name);
      add(ofSecrets, source.secretRef?.name);
    }
    for (const { valueFrom } of container.env ?? []) {
      add(ofConfigMaps, valueFrom?.configMapKeyRef?.name);
      add(ofSecrets, valueFrom?.secretKeyRef?.name);
    }
  }
  for (const volume of pod.spec.volumes ?? []) {
    add(ofConfigMaps, volume.configMap?.name);
    add(ofSecrets, volume.secret?.secretName);
    for (const source of volume.projected?.sources ?? []) {
      add(ofConfigMaps, source.configMap?.name);
      add(ofSecrets, source.secret?.name);
    }
  }
  for (const secret of pod.spec.imagePullSecrets ?? []) add(ofSecrets, secret.name);
  return { configMaps: ofConfigMaps, secrets: ofSecrets };
}
