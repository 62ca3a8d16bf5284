// Admission: what may change or refuse a write after authorization. Mutating plugins run before
// the registry's own rules, validating ones inside its conflict-retry closure, in list order.
// Plugins read other objects through an ObjectReader, never through the store.
// Source: kubernetes apiserver pkg/admission/{interfaces,chain}.go.
import type { GroupVersionKind, GroupVersionResource, KubeObject } from '#kube/api/object.ts';
import type { UserInfo } from '../apiserver/http.ts';

export type AdmissionOperation = 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';

export interface AdmissionAttributes {
  readonly operation: AdmissionOperation;
  readonly resource: GroupVersionResource;
  readonly kind: GroupVersionKind;
  /** '' for the object itself. */
  readonly subresource: string;
  /** '' for cluster-scoped kinds. */
  readonly namespace: string;
  /** '' while the server has yet to make it of generateName; also for deletecollection. */
  readonly name: string;
  /** The new object; mutating plugins change it in place. Undefined for DELETE. */
  readonly object: KubeObject | undefined;
  /** The object as stored. Undefined for CREATE and CONNECT. Read-only. */
  readonly oldObject: KubeObject | undefined;
  readonly user: UserInfo;
  readonly dryRun: boolean;
  /** Adds a `Warning:` header to the answer. */
  readonly warn: (text: string) => void;
}

export interface AdmissionPlugin {
  readonly name: string;
  handles(attributes: AdmissionAttributes): boolean;
  /** May mutate `attributes.object`. Throws a StatusError to refuse. */
  admit?(attributes: AdmissionAttributes): void | Promise<void>;
  /** Throws a StatusError to refuse. Runs again when the write is retried after a conflict. */
  validate?(attributes: AdmissionAttributes): void | Promise<void>;
}

/** How plugins read. Results must not be changed. */
export interface ObjectReader {
  /** Linearizable, of any resource. */
  get(
    resource: GroupVersionResource,
    namespace: string,
    name: string,
  ): Promise<KubeObject | undefined>;
  /** From this server's cache ('' for all namespaces): it may lack what another server wrote last. */
  list(resource: GroupVersionResource, namespace: string): readonly KubeObject[];
}

export interface AdmissionChain {
  admit(attributes: AdmissionAttributes): Promise<void>;
  validate(attributes: AdmissionAttributes): Promise<void>;
}

export function createAdmissionChain(plugins: readonly AdmissionPlugin[]): AdmissionChain {
  return {
    async admit(attributes) {
      for (const plugin of plugins)
        if (plugin.admit !== undefined && plugin.handles(attributes))
          await plugin.admit(attributes);
    },
    async validate(attributes) {
      for (const plugin of plugins)
        if (plugin.validate !== undefined && plugin.handles(attributes))
          await plugin.validate(attributes);
    },
  };
}
