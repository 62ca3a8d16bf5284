// DaemonSets, and the ControllerRevisions that are their history.
// Source: kubernetes pkg/apis/apps/{v1/defaults.go,validation/validation.go},
// pkg/registry/apps/{daemonset,controllerrevision}/strategy.go.
import type {
  ControllerRevision,
  DaemonSet,
  DaemonSetSpec,
  DaemonSetUpdateStrategy,
} from '#kube/api/apps.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  field,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { dns1123SubdomainName } from '#kube/machinery/names.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { applyTemplateDefaults } from '../pod/defaults.ts';
import { isEmptySelector, matcherOf, validateLabelSelector } from '../selector-rules.ts';
import { checkNonNegative, immutableMessage } from '../text-rules.ts';
import {
  isZero,
  validateAtMostAll,
  validateForeverTemplate,
  validateImmutableSelector,
  validateIntOrPercent,
} from './workload.ts';

/** Counts the changes of the template; of use to old clients only. */
const templateGeneration = 'deprecated.daemonset.template.generation';

export const daemonSetStrategy: Strategy<DaemonSet> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec }) {
    spec.revisionHistoryLimit ??= 10;
    spec.updateStrategy ??= {};
    spec.updateStrategy.type ||= 'RollingUpdate';
    if (spec.updateStrategy.type === 'RollingUpdate') {
      spec.updateStrategy.rollingUpdate ??= {};
      spec.updateStrategy.rollingUpdate.maxUnavailable ??= 1;
      spec.updateStrategy.rollingUpdate.maxSurge ??= 0;
    }
    applyTemplateDefaults(spec.template);
  },
  prepareForCreate(set) {
    setTemplateGeneration(set, 1);
    set.status = {
      currentNumberScheduled: 0,
      desiredNumberScheduled: 0,
      numberMisscheduled: 0,
      numberReady: 0,
    };
  },
  prepareForUpdate(next, old) {
    const before = Number(old.metadata.annotations?.[templateGeneration] ?? 1);
    const isChanged = !deepEqual(next.spec.template, old.spec.template);
    setTemplateGeneration(next, isChanged ? before + 1 : before);
  },
  validate: ({ spec }) => validateDaemonSetSpec(spec, field('spec')),
  validateUpdate: (next, old) => validateImmutableSelector(next.spec.selector, old.spec.selector),
};

function setTemplateGeneration({ metadata }: DaemonSet, generation: number): void {
  metadata.annotations = { ...metadata.annotations, [templateGeneration]: `${generation}` };
}

export const daemonSetStatus: StatusSubresource<DaemonSet> = {
  type: 'status',
  validateUpdate({ status }) {
    const path = field('status');
    const counts = [
      'currentNumberScheduled',
      'numberMisscheduled',
      'desiredNumberScheduled',
      'numberReady',
      'observedGeneration',
      'updatedNumberScheduled',
      'numberAvailable',
      'numberUnavailable',
    ] as const;
    return counts.flatMap((name) => checkNonNegative(path.child(name), status?.[name]));
  },
};

function validateDaemonSetSpec(spec: DaemonSetSpec, path: FieldPath): FieldError[] {
  const { selector, template } = spec;
  const templatePath = path.child('template');
  const errors = validateLabelSelector(selector, path.child('selector'));
  const labels = template?.metadata?.labels;
  if (matcherOf(selector)?.matches(labels ?? {}) === false)
    errors.push(
      invalid(
        templatePath.child('metadata', 'labels'),
        labels,
        '`selector` does not match template `labels`',
      ),
    );
  if (selector !== undefined && isEmptySelector(selector))
    errors.push(
      invalid(path.child('selector'), selector, 'empty selector is invalid for daemonset'),
    );
  return [
    ...errors,
    ...validateForeverTemplate(template, templatePath, 'DaemonSet'),
    ...checkNonNegative(path.child('minReadySeconds'), spec.minReadySeconds),
    ...validateUpdateStrategy(spec.updateStrategy ?? {}, path.child('updateStrategy')),
    ...checkNonNegative(path.child('revisionHistoryLimit'), spec.revisionHistoryLimit),
  ];
}

function validateUpdateStrategy(strategy: DaemonSetUpdateStrategy, path: FieldPath): FieldError[] {
  const at = path.child('rollingUpdate');
  const { type = '', rollingUpdate } = strategy;
  if (type === 'OnDelete') return [];
  if (type !== 'RollingUpdate')
    return [notSupported(path, strategy, ['RollingUpdate', 'OnDelete'])];
  if (rollingUpdate === undefined) return [required(at, '')];
  const { maxUnavailable = 1, maxSurge = 0 } = rollingUpdate;
  const errors = [
    ...validateIntOrPercent(at.child('maxUnavailable'), maxUnavailable),
    ...validateIntOrPercent(at.child('maxSurge'), maxSurge),
    ...validateAtMostAll(at.child('maxUnavailable'), maxUnavailable),
    ...validateAtMostAll(at.child('maxSurge'), maxSurge),
  ];
  if (!isZero(maxUnavailable) && !isZero(maxSurge))
    errors.push(
      invalid(at.child('maxSurge'), maxSurge, 'may not be set when maxUnavailable is non-zero'),
    );
  if (isZero(maxUnavailable) && isZero(maxSurge))
    errors.push(required(at.child('maxUnavailable'), 'cannot be 0 when maxSurge is 0'));
  return errors;
}

export const controllerRevisionStrategy: Strategy<ControllerRevision> = {
  validateName: dns1123SubdomainName,
  validate({ data, revision }) {
    const missing = data === undefined ? [required(field('data'), 'data is mandatory')] : [];
    return [...missing, ...checkNonNegative(field('revision'), revision)];
  },
  validateUpdate: (next, old) =>
    deepEqual(next.data, old.data) ? [] : [invalid(field('data'), next.data, immutableMessage)],
  generationFields: 'none',
};
