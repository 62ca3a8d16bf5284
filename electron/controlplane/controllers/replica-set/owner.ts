// One view of the two kinds that keep a number of pods: ReplicaSet and ReplicationController.
import type { ReplicaSet } from '#kube/api/apps.ts';
import type { PodTemplateSpec, ReplicationController } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { replicaSets, replicationControllers, type Resource } from '#kube/client/resources.ts';
import {
  labelSelectorMatcher,
  type LabelMatcher,
  labelsMatcher,
} from '#kube/machinery/selector.ts';
import type { ReplicaStatus } from './plan.ts';

export interface ReplicaOwner {
  readonly object: KubeObject;
  readonly replicas: number;
  readonly minReadySeconds: number;
  readonly selector: LabelMatcher;
  readonly template: PodTemplateSpec | undefined;
  readonly status: ReplicaStatus;
  readonly countsTerminating: boolean;
}

export interface ReplicaKind<T extends KubeObject> {
  readonly resource: Resource<T>;
  /** The reporting component of its events. */
  readonly component: string;
  readonly view: (object: T) => ReplicaOwner;
  readonly withStatus: (object: T, status: ReplicaStatus) => T;
}

export const replicaSetKind: ReplicaKind<ReplicaSet> = {
  resource: replicaSets,
  component: 'replicaset-controller',
  view: (object) => ({
    object,
    replicas: object.spec.replicas ?? 1,
    minReadySeconds: object.spec.minReadySeconds ?? 0,
    selector: labelSelectorMatcher(object.spec.selector),
    template: object.spec.template,
    status: object.status ?? { replicas: 0 },
    countsTerminating: true,
  }),
  withStatus: (object, status) => ({ ...object, status }),
};

export const replicationControllerKind: ReplicaKind<ReplicationController> = {
  resource: replicationControllers,
  component: 'replication-controller',
  view: (object) => ({
    object,
    replicas: object.spec.replicas ?? 1,
    minReadySeconds: object.spec.minReadySeconds ?? 0,
    selector: labelsMatcher(object.spec.selector ?? {}),
    template: object.spec.template,
    status: object.status ?? { replicas: 0 },
    countsTerminating: false,
  }),
  withStatus: (object, status) => ({ ...object, status }),
};
