// The vocabulary of the resource table: what a kind declares, and what everything else derives
// from it (routes, discovery, OpenAPI, table columns, validation, GC, namespace deletion, keys).
// Adding a kind touches resources.ts, its schema and its strategy, nothing else.
// Source of the strategy's steps: kubernetes apiserver pkg/registry/rest/{create,update,delete}.go.
import type { KubeObject } from '#kube/api/object.ts';
import type { FieldPathElements, FieldSet } from '#kube/machinery/apply/field-set.ts';
import type { Random } from '#kube/base/random.ts';
import type { FieldError } from '#kube/machinery/field.ts';
import type { KindTypes } from '../cel/policy-types.ts';

export type Verb =
  | 'get'
  | 'list'
  | 'watch'
  | 'create'
  | 'update'
  | 'patch'
  | 'delete'
  | 'deletecollection';

export const allVerbs: readonly Verb[] = [
  'create',
  'delete',
  'deletecollection',
  'get',
  'list',
  'patch',
  'update',
  'watch',
];

export interface ResourceDefinition<T extends KubeObject = KubeObject> {
  /** '' for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames?: readonly string[];
  /** `all` puts the kind into `kubectl get all`. */
  readonly categories?: readonly string[];
  readonly namespaced: boolean;
  /** allVerbs when left out. */
  readonly verbs?: readonly Verb[];
  /** Name in resources/schema, such as `apps/v1.Deployment`. */
  readonly schema: string;
  readonly strategy: Strategy<T>;
  readonly columns: readonly Column<T>[];
  /** Field selectors beside metadata.name and metadata.namespace: label → value of an object. */
  readonly fieldSelectors?: Readonly<Record<string, (object: T) => string>>;
  readonly subresources?: Readonly<Record<string, Subresource<T>>>;
  /** The version of the same kind that lies in the store; this one if left out (versions.ts). */
  readonly storedAs?: StoredAs<T>;
  /** Versions differ in more than their name, and somebody outside converts them. */
  readonly converted?: Converted;
  /** A question: what is created is answered and kept nowhere. Its handler's name. */
  readonly review?: Review;
  /** Worked out for whoever asks, and kept nowhere. Its handler's name. */
  readonly computed?: 'component-status' | 'node-metrics' | 'pod-metrics';
  /** Every answer carries it as a warning. */
  readonly deprecation?: string;
  /** Defined at run time: no protobuf, no strategic merge. */
  readonly isCustom?: boolean;
  /** Of a list of its objects; `<kind>List` if left out. */
  readonly listKind?: string;
  /** A write is answered when the cache has it: what is derived from it, or read there, then holds. */
  readonly awaitsCache?: boolean;
  /** Its objects lie encrypted in the store. */
  readonly isSecret?: boolean;
  /** Objects are deleted this long after their last write (Events). */
  readonly ttlSeconds?: number;
}

export type Review =
  | 'binding'
  | 'local-subject-access'
  | 'self-subject'
  | 'self-subject-access'
  | 'self-subject-rules'
  | 'subject-access'
  | 'token';

/** Objects in the store may be of any version; `stored` is what new ones are written in. */
export interface Converted {
  /** Undefined: this one. */
  readonly stored: ResourceDefinition | undefined;
  readonly by: VersionConverter;
}

export interface VersionConverter {
  /** In the same order, each an object of its own. Throws a StatusError. */
  convert(objects: readonly KubeObject[], apiVersion: string): Promise<readonly KubeObject[]>;
}

/** Neither function changes its argument. */
export interface StoredAs<T extends KubeObject = KubeObject> {
  readonly definition: ResourceDefinition;
  readonly toStored: (object: T) => KubeObject;
  readonly fromStored: (stored: KubeObject) => T;
}

/** A column of `kubectl get`. Cells are JSON scalars; ages are made by `age(timestamp, now)`. */
export interface Column<T extends KubeObject = KubeObject> {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'date';
  readonly format?: string;
  readonly description?: string;
  /** 0 (default): always; 1: only with -o wide. */
  readonly priority?: number;
  readonly cell: (object: T, nowMs: number) => string | number | boolean | null;
}

/** Settings of the whole cluster that strategies need. */
export interface ClusterConfig {
  /** Range of ClusterIPs, such as `10.96.0.0/16`. */
  readonly serviceCidr: string;
  /** Inclusive. */
  readonly nodePortRange: readonly [first: number, last: number];
}

/** What an allocation may look at: it runs alone for its resource until the write is committed. */
export interface AllocationContext<T extends KubeObject> {
  /** Every object of the resource, cluster-wide, from a linearizable read. */
  readonly existing: readonly T[];
  readonly random: Random;
  readonly config: ClusterConfig;
  readonly nowMs: number;
  /** The kinds that are no custom resources. */
  readonly builtIn: readonly ResourceDefinition[];
}

/**
 * A kind's own rules. The generic registry does the rest: system metadata, name validation,
 * generation, resourceVersion, finalizers, graceful deletion, schema defaults and schema
 * validation (types, required, unknown fields) come before these hooks.
 */
export interface Strategy<T extends KubeObject = KubeObject> {
  /** Awaited before a write's other hooks: what they need and a start has no time for. */
  readonly load?: (object: T) => Promise<void> | undefined;
  /** Which names are legal; DNS-1123 subdomain when left out. */
  readonly validateName?: (name: string, isPrefix: boolean) => readonly string[];
  /** Defaults that depend on other fields. Mutates. Idempotent: also runs on what storage gives. */
  readonly applyDefaults?: (object: T) => void;
  /** A create may bring a status with it (Node: its agent registers with what it has). */
  readonly keepsStatusOnCreate?: boolean;
  /** Mutates: drop what the client must not set. `status` is removed before, unless kept. */
  readonly prepareForCreate?: (object: T) => void;
  /** Mutates `next`. `status` is taken from `old` before, if the kind has a status subresource. */
  readonly prepareForUpdate?: (next: T, old: T) => void;
  /** All rule violations of an object, in Kubernetes' wording and order. `old`: this is an update. */
  readonly validate: (object: T, old?: T) => FieldError[];
  /** Violations of what a create may bring with it; `validate` runs as well, before. */
  readonly validateCreate?: (object: T) => FieldError[];
  /** Violations of what may change; `validate(next)` runs as well, before. */
  readonly validateUpdate?: (next: T, old: T) => FieldError[];
  /** Texts for `Warning:` headers. */
  readonly warnings?: (object: T) => readonly string[];
  /** Fills in what must be unique in the cluster (ClusterIPs, node ports). Mutates `next`. */
  readonly allocate?: (next: T, old: T | undefined, context: AllocationContext<T>) => FieldError[];
  /** Fills in what follows from the schemas of other kinds (a policy's status). Mutates `next`. */
  readonly complete?: (next: T, kinds: KindTypes) => void;
  /** PUT of an absent object creates it. */
  readonly allowCreateOnUpdate?: boolean;
  /** PUT without resourceVersion is refused. Most kinds allow it. */
  readonly requireResourceVersion?: boolean;
  /**
   * Seconds between the delete and the removal; undefined or 0: at once. The node's agent confirms
   * by a delete with grace 0. `requested` is the client's gracePeriodSeconds, if it gave one.
   */
  readonly deletionGraceSeconds?: (object: T, requested: number | undefined) => number | undefined;
  /**
   * A delete that says nothing of dependents leaves them alone. `warning` tells the client so.
   */
  readonly orphansByDefault?: { readonly warning?: string };
  /** Finalizers of the kind's own kept outside metadata (Namespace: spec.finalizers). */
  readonly hasOwnFinalizers?: (object: T) => boolean;
  /** Set when a delete begins: somebody has to do something before the object may go. */
  readonly deletionFinalizers?: readonly string[];
  /** Mutates when a delete that has to wait begins (Namespace: status.phase = Terminating). */
  readonly onDeletionStart?: (object: T) => void;
  /** When metadata.generation goes up; default: anything but metadata and status differs. */
  readonly generationFields?: 'spec' | 'none' | 'all';
}

export type Subresource<T extends KubeObject = KubeObject> =
  | StatusSubresource<T>
  | ScaleSubresource<T>
  | ConnectSubresource;

/** GET, PUT, PATCH of the same object; only what `prepareForUpdate` lets through changes. */
export interface StatusSubresource<T extends KubeObject = KubeObject> {
  readonly type: 'status';
  /** It is part of the spec after all: metadata.generation goes up with it. */
  readonly changesSpec?: boolean;
  /** Mutates `next`; default: everything but status and a few metadata fields is taken from old. `now`: RFC 3339. */
  readonly prepareForUpdate?: (next: T, old: T, now: string) => void;
  /** What prepareForUpdate takes back: nobody comes to own it. Given together with it. */
  readonly resetFields?: FieldSet;
  /** In place of it: all that can come to be owned, with what is below. `*`: any item. */
  readonly onlyFields?: readonly FieldPathElements[];
  readonly validateUpdate?: (next: T, old: T) => FieldError[];
}

/** autoscaling/v1 Scale. */
export interface ScaleSubresource<T extends KubeObject = KubeObject> {
  readonly type: 'scale';
  readonly getSpecReplicas: (object: T) => number;
  readonly setSpecReplicas: (object: T, replicas: number) => void;
  readonly getStatusReplicas: (object: T) => number;
  /** In text form, as `status.selector`. */
  readonly getSelector: (object: T) => string;
}

/** Anything with a handler of its own in apiserver/handlers/connect.ts (or write.ts), by name. */
export interface ConnectSubresource {
  readonly type: 'connect';
  readonly handler:
    | 'pod-log'
    | 'pod-binding'
    | 'pod-eviction'
    | 'pod-exec'
    | 'pod-attach'
    | 'pod-portforward'
    | 'pod-proxy'
    | 'service-proxy'
    | 'node-proxy'
    | 'machine-enrolment'
    | 'node-operation'
    | 'backup-passphrase'
    | 'namespace-finalize'
    | 'service-account-token';
  /** Discovery's kind and verbs, such as `Binding` and ['create']. */
  readonly kind: string;
  readonly group?: string;
  readonly version?: string;
  readonly verbs: readonly Verb[];
}
