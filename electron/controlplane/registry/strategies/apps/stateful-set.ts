// StatefulSets: pods with names and claims of their own.
// Source: kubernetes pkg/registry/apps/statefulset/strategy.go, pkg/apis/apps/{v1/defaults.go,
// v1/conversion.go,validation/validation.go}.
import type { StatefulSet, StatefulSetSpec } from '#kube/api/apps.ts';
import type { PodTemplateSpec } from '#kube/api/core.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  field,
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { dns1123LabelName } from '#kube/machinery/names.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { applyTemplateDefaults } from '../pod/defaults.ts';
import { isEmptySelector, matcherOf, validateLabelSelector } from '../selector-rules.ts';
import { applyClaimDefaults } from '../storage/persistent-volume-claim.ts';
import { asGiven, checkNonNegative } from '../text-rules.ts';
import {
  isZero,
  validateAtMostAll,
  validateIntOrPercent,
  validateMatchedTemplate,
} from './workload.ts';

export const statefulSetStrategy: Strategy<StatefulSet> = {
  validateName: dns1123LabelName,
  applyDefaults({ spec }) {
    spec.podManagementPolicy ||= 'OrderedReady';
    spec.updateStrategy ??= {};
    if ((spec.updateStrategy.type ?? '') === '') {
      spec.updateStrategy.type = 'RollingUpdate';
      spec.updateStrategy.rollingUpdate ??= {};
    }
    const { type, rollingUpdate } = spec.updateStrategy;
    if (type === 'RollingUpdate' && rollingUpdate !== undefined) rollingUpdate.partition ??= 0;
    spec.persistentVolumeClaimRetentionPolicy ??= {};
    spec.persistentVolumeClaimRetentionPolicy.whenDeleted ||= 'Retain';
    spec.persistentVolumeClaimRetentionPolicy.whenScaled ||= 'Retain';
    spec.replicas ??= 1;
    spec.revisionHistoryLimit ??= 10;
    applyTemplateDefaults(spec.template);
    for (const claim of spec.volumeClaimTemplates ?? []) {
      claim.apiVersion ??= 'v1';
      claim.kind ??= 'PersistentVolumeClaim';
      applyClaimDefaults(claim);
    }
  },
  prepareForCreate(set) {
    set.status = { replicas: 0 };
  },
  validate: ({ spec }) => validateStatefulSetSpec(spec, field('spec')),
  validateUpdate: validateSpecUpdate,
};

export const statefulSetStatus: StatusSubresource<StatefulSet> = {
  type: 'status',
  validateUpdate: validateStatus,
};

const managementPolicies = ['OrderedReady', 'Parallel'];
const retentionPolicies = ['Retain', 'Delete'];

function validateStatefulSetSpec(spec: StatefulSetSpec, path: FieldPath): FieldError[] {
  const { podManagementPolicy = '', selector } = spec;
  const retention = spec.persistentVolumeClaimRetentionPolicy ?? {};
  const errors: FieldError[] = [];
  if (!managementPolicies.includes(podManagementPolicy))
    errors.push(
      invalid(
        path.child('podManagementPolicy'),
        podManagementPolicy,
        "must be 'OrderedReady' or 'Parallel'",
      ),
    );
  errors.push(...validateUpdateStrategy(spec, path.child('updateStrategy')));
  for (const name of ['whenDeleted', 'whenScaled'] as const) {
    const policy = retention[name] ?? '';
    const at = path.child('persistentVolumeClaimRetentionPolicy', name);
    if (!retentionPolicies.includes(policy))
      errors.push(notSupported(at, policy, retentionPolicies));
  }
  errors.push(
    ...checkNonNegative(path.child('replicas'), spec.replicas),
    ...checkNonNegative(path.child('minReadySeconds'), spec.minReadySeconds),
    ...checkNonNegative(path.child('ordinals', 'start'), spec.ordinals?.start),
  );
  const at = path.child('selector');
  if (selector === undefined) errors.push(required(at, ''));
  else {
    errors.push(...validateLabelSelector(selector, at));
    if (isEmptySelector(selector))
      errors.push(invalid(at, selector, 'empty selector is invalid for statefulset'));
  }
  const matcher = matcherOf(selector);
  if (matcher === undefined) return [...errors, invalid(at, selector, '')];
  return [...errors, ...validateMatchedTemplate(matcher, withClaims(spec), path, 'StatefulSet')];
}

/** The template as its pods will be: each claim is a volume of the same name. */
function withClaims({ template, volumeClaimTemplates = [] }: StatefulSetSpec): PodTemplateSpec {
  const claims = volumeClaimTemplates.map(({ metadata }) => metadata?.name ?? '');
  if (template.spec === undefined || claims.length === 0) return template;
  const others = (template.spec.volumes ?? []).filter(({ name }) => !claims.includes(name));
  const volumes = claims.map((name) => ({ name, persistentVolumeClaim: { claimName: name } }));
  return { ...template, spec: { ...template.spec, volumes: [...others, ...volumes] } };
}

function validateUpdateStrategy(spec: StatefulSetSpec, path: FieldPath): FieldError[] {
  const { type = '', rollingUpdate } = spec.updateStrategy ?? {};
  const at = path.child('rollingUpdate');
  if (type === 'OnDelete')
    return rollingUpdate === undefined
      ? []
      : [invalid(at, rollingUpdate, "only allowed for updateStrategy 'RollingUpdate'")];
  if (type !== 'RollingUpdate')
    return [invalid(path, spec.updateStrategy, "must be 'RollingUpdate' or 'OnDelete'")];
  if (rollingUpdate === undefined) return [];
  const { partition, maxUnavailable } = rollingUpdate;
  const errors = checkNonNegative(at.child('partition'), partition);
  if (maxUnavailable === undefined) return errors;
  const maxPath = at.child('maxUnavailable');
  errors.push(...validateIntOrPercent(maxPath, maxUnavailable));
  if (isZero(maxUnavailable)) errors.push(invalid(maxPath, maxUnavailable, 'cannot be 0'));
  return [...errors, ...validateAtMostAll(maxPath, maxUnavailable)];
}

const changeable = [
  'replicas',
  'ordinals',
  'template',
  'updateStrategy',
  'revisionHistoryLimit',
  'persistentVolumeClaimRetentionPolicy',
  'minReadySeconds',
];

function validateSpecUpdate({ spec: next }: StatefulSet, { spec: old }: StatefulSet): FieldError[] {
  const frozen = (spec: StatefulSetSpec) =>
    Object.fromEntries(Object.entries(spec).filter(([name]) => !changeable.includes(name)));
  if (deepEqual(frozen(next), frozen(old))) return [];
  return [
    forbidden(
      field('spec'),
      "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', " +
        "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and " +
        "'minReadySeconds' are forbidden",
    ),
  ];
}

const partialCounts = [
  'readyReplicas',
  'currentReplicas',
  'updatedReplicas',
  'availableReplicas',
] as const;

function validateStatus(next: StatefulSet, old: StatefulSet): FieldError[] {
  const path = field('status');
  const status = next.status ?? { replicas: 0 };
  const { replicas = 0, readyReplicas = 0, availableReplicas = 0 } = asGiven(status);
  const names = ['replicas', ...partialCounts, 'observedGeneration', 'collisionCount'] as const;
  const errors = names.flatMap((name) => checkNonNegative(path.child(name), status[name]));
  for (const name of partialCounts)
    if ((status[name] ?? 0) > replicas)
      errors.push(
        invalid(path.child(name), status[name], 'cannot be greater than status.replicas'),
      );
  if (availableReplicas > readyReplicas)
    errors.push(
      invalid(
        path.child('availableReplicas'),
        availableReplicas,
        'cannot be greater than status.readyReplicas',
      ),
    );
  const collisions = status.collisionCount ?? 0;
  if (collisions < (old.status?.collisionCount ?? 0))
    errors.push(invalid(path.child('collisionCount'), collisions, 'cannot be decremented'));
  return errors;
}
