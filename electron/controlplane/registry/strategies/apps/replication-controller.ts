// ReplicationControllers: the elder of ReplicaSet, with a plain map as selector.
// Source: kubernetes pkg/apis/core/validation/validation.go ValidateReplicationControllerSpec.
import type { ReplicationController, ReplicationControllerSpec } from '#kube/api/core.ts';
import { field, required, type FieldError, type FieldPath } from '#kube/machinery/field.ts';
import { dns1123SubdomainName } from '#kube/machinery/names.ts';
import { labelsMatcher } from '#kube/machinery/selector.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { applyTemplateDefaults } from '../pod/defaults.ts';
import { checkNonNegative } from '../text-rules.ts';
import { validateMatchedTemplate, validateReplicaCounts } from './workload.ts';

export const replicationControllerStrategy: Strategy<ReplicationController> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ metadata, spec }) {
    spec.replicas ??= 1;
    const labels = spec.template?.metadata?.labels;
    if (labels !== undefined) {
      if (Object.keys(spec.selector ?? {}).length === 0) spec.selector = { ...labels };
      if (Object.keys(metadata.labels ?? {}).length === 0) metadata.labels = { ...labels };
    }
    applyTemplateDefaults(spec.template);
  },
  prepareForCreate(controller) {
    controller.status = { replicas: 0 };
  },
  validate: ({ spec }) => validateSpec(spec, field('spec')),
  orphansByDefault: {},
};

export const replicationControllerStatus: StatusSubresource<ReplicationController> = {
  type: 'status',
  validateUpdate: (next) => validateReplicaCounts(next.status),
};

function validateSpec(spec: ReplicationControllerSpec, path: FieldPath): FieldError[] {
  const { selector = {}, template } = spec;
  const isEmpty = Object.keys(selector).length === 0;
  return [
    ...checkNonNegative(path.child('minReadySeconds'), spec.minReadySeconds),
    ...(isEmpty ? [required(path.child('selector'), '')] : []),
    ...checkNonNegative(path.child('replicas'), spec.replicas),
    ...validateMatchedTemplate(labelsMatcher(selector), template, path, 'ReplicationController'),
  ];
}
