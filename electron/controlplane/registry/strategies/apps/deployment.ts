// Deployments and their ReplicaSets.
// Differs: metadata.generation does not rise when only annotations of a Deployment change.
// Source: kubernetes pkg/apis/apps/{v1/defaults.go,validation/validation.go}.
import type { Deployment, DeploymentSpec, DeploymentStrategy, ReplicaSet } from '#kube/api/apps.ts';
import {
  field,
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { dns1123SubdomainName } from '#kube/machinery/names.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { applyTemplateDefaults } from '../pod/defaults.ts';
import { checkNonNegative } from '../text-rules.ts';
import {
  isZero,
  validateAtMostAll,
  validateImmutableSelector,
  validateIntOrPercent,
  validateReplicaCounts,
  validateSelection,
} from './workload.ts';

export const deploymentStrategy: Strategy<Deployment> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec }) {
    spec.replicas ??= 1;
    spec.revisionHistoryLimit ??= 10;
    spec.progressDeadlineSeconds ??= 600;
    spec.strategy ??= {};
    spec.strategy.type ||= 'RollingUpdate';
    if (spec.strategy.type === 'RollingUpdate') {
      spec.strategy.rollingUpdate ??= {};
      spec.strategy.rollingUpdate.maxUnavailable ??= '25%';
      spec.strategy.rollingUpdate.maxSurge ??= '25%';
    }
    applyTemplateDefaults(spec.template);
  },
  prepareForCreate(deployment) {
    deployment.status = {};
  },
  validate: ({ spec }) => validateDeploymentSpec(spec, field('spec')),
  validateUpdate: (next, old) => validateImmutableSelector(next.spec.selector, old.spec.selector),
};

export const deploymentStatus: StatusSubresource<Deployment> = {
  type: 'status',
  validateUpdate: (next) => validateReplicaCounts(next.status),
};

function validateDeploymentSpec(spec: DeploymentSpec, path: FieldPath): FieldError[] {
  const { minReadySeconds = 0, progressDeadlineSeconds } = spec;
  const deadlinePath = path.child('progressDeadlineSeconds');
  const errors = [
    ...checkNonNegative(path.child('replicas'), spec.replicas),
    ...validateSelection(spec, path),
    ...validateStrategy(spec.strategy ?? {}, path.child('strategy')),
    ...checkNonNegative(path.child('minReadySeconds'), minReadySeconds),
    ...checkNonNegative(path.child('revisionHistoryLimit'), spec.revisionHistoryLimit),
    ...checkNonNegative(deadlinePath, progressDeadlineSeconds),
  ];
  if (progressDeadlineSeconds !== undefined && progressDeadlineSeconds <= minReadySeconds)
    errors.push(
      invalid(deadlinePath, progressDeadlineSeconds, 'must be greater than minReadySeconds'),
    );
  return errors;
}

function validateStrategy(strategy: DeploymentStrategy, path: FieldPath): FieldError[] {
  const at = path.child('rollingUpdate');
  const { type = '', rollingUpdate } = strategy;
  if (type === 'Recreate')
    return rollingUpdate === undefined
      ? []
      : [forbidden(at, "may not be specified when strategy `type` is 'Recreate'")];
  if (type !== 'RollingUpdate')
    return [notSupported(path, { Type: type, RollingUpdate: null }, ['Recreate', 'RollingUpdate'])];
  if (rollingUpdate === undefined)
    return [required(at, 'this should be defaulted and never be nil')];
  const { maxUnavailable = 0, maxSurge = 0 } = rollingUpdate;
  const unavailablePath = at.child('maxUnavailable');
  const errors = [
    ...validateIntOrPercent(unavailablePath, maxUnavailable),
    ...validateIntOrPercent(at.child('maxSurge'), maxSurge),
  ];
  if (isZero(maxUnavailable) && isZero(maxSurge))
    errors.push(invalid(unavailablePath, maxUnavailable, 'may not be 0 when `maxSurge` is 0'));
  return [...errors, ...validateAtMostAll(unavailablePath, maxUnavailable)];
}

export const replicaSetStrategy: Strategy<ReplicaSet> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec }) {
    spec.replicas ??= 1;
    applyTemplateDefaults(spec.template);
  },
  prepareForCreate(set) {
    set.status = { replicas: 0 };
  },
  validate({ spec }) {
    const path = field('spec');
    return [
      ...checkNonNegative(path.child('replicas'), spec.replicas),
      ...checkNonNegative(path.child('minReadySeconds'), spec.minReadySeconds),
      ...validateSelection(spec, path),
    ];
  },
  validateUpdate: (next, old) => validateImmutableSelector(next.spec.selector, old.spec.selector),
};

export const replicaSetStatus: StatusSubresource<ReplicaSet> = {
  type: 'status',
  validateUpdate: (next) => validateReplicaCounts(next.status),
};
