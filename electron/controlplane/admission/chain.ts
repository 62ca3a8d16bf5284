// Admission: what may change or refuse a write after authorization. Mutating plugins run before
// the registry's own rules, validating ones inside its conflict-retry closure, in list order. One that
// changed the object after others had seen it has all mutating ones asked once more.
// Plugins read other objects through an ObjectReader, never through the store.
// Source: kubernetes apiserver pkg/admission/{interfaces,chain,reinvocation}.go.
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
  /** CreateOptions, UpdateOptions, … as the client gave them. */
  readonly options?: object | undefined;
  /** When the client is gone, or has waited long enough. */
  readonly signal?: AbortSignal | undefined;
  /** Adds a `Warning:` header to the answer. */
  readonly warn: (text: string) => void;
  /** Puts something down for the audit. */
  readonly annotate?: ((key: string, value: string) => void) | undefined;
}

/** Both rounds of mutating admission for one request. */
export interface Rounds {
  /** Everybody was asked before: this is the second round, and the last. */
  readonly isSecond: boolean;
  /** What a plugin keeps from the first round for the second, by its name. */
  readonly kept: Map<string, unknown>;
  /** The object has changed after others had seen it. */
  askAgain(): void;
}

export interface AdmissionPlugin {
  readonly name: string;
  handles(attributes: AdmissionAttributes): boolean;
  /** May mutate `attributes.object`. Throws a StatusError to refuse. */
  admit?(attributes: AdmissionAttributes, rounds: Rounds): void | Promise<void>;
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
  async function admitRound(attributes: AdmissionAttributes, rounds: Rounds): Promise<void> {
    for (const plugin of plugins)
      if (plugin.admit !== undefined && plugin.handles(attributes))
        await plugin.admit(attributes, rounds);
  }
  return {
    async admit(attributes) {
      let isAgain = false;
      const first: Rounds = {
        isSecond: false,
        kept: new Map(),
        askAgain() {
          isAgain = true;
        },
      };
      await admitRound(attributes, first);
      if (isAgain) await admitRound(attributes, { ...first, isSecond: true });
    },
    async validate(attributes) {
      for (const plugin of plugins)
        if (plugin.validate !== undefined && plugin.handles(attributes))
          await plugin.validate(attributes);
    },
  };
}
