// Pods: pending with a quality-of-service class when they are created, deleted with grace.
// Source: kubernetes pkg/registry/core/pod/strategy.go.
import type { Pod } from '#kube/api/core.ts';
import { fieldSet } from '#kube/machinery/apply/field-set.ts';
import { deepCopy } from '#kube/machinery/equality.ts';
import { dns1123SubdomainName, isDns1123Label } from '#kube/machinery/names.ts';
import { podQosClass } from '#kube/machinery/qos.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { validateEphemeralContainersUpdate } from './ephemeral.ts';
import { applyPodDefaults } from './defaults.ts';
import { validatePodStatusUpdate, validatePodUpdate } from './update.ts';
import { validatePod, validatePodCreate } from './validation.ts';

export const podStrategy: Strategy<Pod> = {
  validateName: dns1123SubdomainName,
  applyDefaults: applyPodDefaults,
  prepareForCreate(pod) {
    pod.status = { phase: 'Pending', qosClass: podQosClass(pod.spec) };
    if ((pod.spec.schedulingGates ?? []).length > 0)
      pod.status.conditions = [
        {
          type: 'PodScheduled',
          status: 'False',
          reason: 'SchedulingGated',
          message: 'Scheduling is blocked due to non-empty scheduling gates',
        },
      ];
  },
  validate: validatePod,
  validateCreate: validatePodCreate,
  validateUpdate: validatePodUpdate,
  warnings(pod) {
    const messages = isDns1123Label(pod.metadata.name);
    if (messages.length === 0) return [];
    return [
      `metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [${messages.join(' ')}]`,
    ];
  },
  deletionGraceSeconds(pod, requested) {
    const isUnscheduled = (pod.spec.nodeName ?? '') === '';
    const isOver = pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded';
    if (isUnscheduled || isOver) return 0;
    const seconds = requested ?? pod.spec.terminationGracePeriodSeconds ?? 0;
    return seconds < 0 ? 1 : seconds;
  },
};

/** Adds to spec.ephemeralContainers, and changes nothing else. */
export const podEphemeralContainers: StatusSubresource<Pod> = {
  type: 'status',
  changesSpec: true,
  prepareForUpdate(next, old) {
    const { ephemeralContainers } = next.spec;
    const { labels, annotations, finalizers, ownerReferences } = deepCopy(old.metadata);
    Object.assign(next.metadata, { labels, annotations, finalizers, ownerReferences });
    next.spec = deepCopy(old.spec);
    if (ephemeralContainers === undefined) delete next.spec.ephemeralContainers;
    else next.spec.ephemeralContainers = ephemeralContainers;
    if (old.status === undefined) delete next.status;
    else next.status = deepCopy(old.status);
  },
  onlyFields: [['f:spec', 'f:ephemeralContainers']],
  validateUpdate: validateEphemeralContainersUpdate,
};

export const podStatus: StatusSubresource<Pod> = {
  type: 'status',
  prepareForUpdate(next, old) {
    next.spec = deepCopy(old.spec);
    const { deletionTimestamp, deletionGracePeriodSeconds, ownerReferences } = old.metadata;
    Object.assign(next.metadata, { deletionTimestamp, deletionGracePeriodSeconds });
    Object.assign(next.metadata, { ownerReferences });
    const qosClass = next.status?.qosClass || old.status?.qosClass;
    const observed = next.status?.observedGeneration ?? old.status?.observedGeneration;
    next.status = { ...next.status };
    if (qosClass !== undefined) next.status.qosClass = qosClass;
    if (observed !== undefined) next.status.observedGeneration = observed;
  },
  resetFields: fieldSet(
    ['f:spec'],
    ['f:metadata', 'f:deletionTimestamp'],
    ['f:metadata', 'f:ownerReferences'],
  ),
  validateUpdate: validatePodStatusUpdate,
};
