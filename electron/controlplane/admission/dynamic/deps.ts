// What webhooks and policies are decided with: who they are, the same object in other versions, and
// everything that has to be looked up. All of it is given.
import type { GroupVersionKind, GroupVersionResource, KubeObject } from '#kube/api/object.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { LabelMatcher } from '#kube/machinery/selector.ts';
import type { WebhookCaller } from '#kube/machinery/webhook.ts';
import type { UserInfo } from '../../apiserver/http.ts';
import type { PathQuestion, ResourceQuestion, Answer } from '../../cel/authorizer.ts';
import type { ObjectReader } from '../chain.ts';

export interface Equivalent {
  readonly resource: GroupVersionResource;
  readonly kind: GroupVersionKind;
}

/** The kinds that are served, in all their versions. */
export interface KindVersions {
  /** The other versions, or groups, in which the same objects are served. */
  equivalentsOf(resource: GroupVersionResource, subresource: string): readonly Equivalent[];
  /** An object of its own. Throws a StatusError when it can't be converted. */
  convert(object: KubeObject, kind: GroupVersionKind): Promise<KubeObject>;
  /** What somebody else made of an object, decoded and with defaults. Throws a StatusError. */
  decode(value: unknown, kind: GroupVersionKind, how?: { readonly isStrict?: boolean }): KubeObject;
  /** As server-side apply would. Throws an Error for what is no configuration of the kind. */
  merge(
    object: KubeObject,
    configuration: Readonly<Record<string, unknown>>,
    kind: GroupVersionKind,
  ): unknown;
  /** Undefined: there is no such kind. */
  find(kind: GroupVersionKind): FoundKind | undefined;
}

export interface FoundKind {
  readonly resource: string;
  readonly namespaced: boolean;
  get(namespace: string, name: string): Promise<KubeObject | undefined>;
  list(namespace: string, labels: LabelMatcher): Promise<readonly KubeObject[]>;
}

/** The kinds of `admissionregistration.k8s.io`, by plural. */
export type Configurations = (plural: string) => readonly KubeObject[];

export interface DynamicDeps {
  readonly reader: ObjectReader;
  readonly configurations: Configurations;
  readonly kinds: KindVersions;
  readonly webhooks: WebhookCaller;
  readonly authorize: (user: UserInfo, question: ResourceQuestion | PathQuestion) => Answer;
  /** Resolves when others have had their turn. */
  readonly nextTurn: () => Promise<void>;
  readonly random: Random;
  readonly logger: Logger;
}
