// Jobs: the selector and labels that are made for them, and their spec's rules.
// Source: kubernetes pkg/registry/batch/job/strategy.go, pkg/apis/batch/{v1/defaults.go,
// validation/validation.go}.
import type { Job, JobSpec } from '#kube/api/batch.ts';
import { deepCopy, deepEqual } from '#kube/machinery/equality.ts';
import {
  field,
  invalid,
  notSupported,
  required,
  tooLong,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { byteLength, dns1123SubdomainName, isDns1123Label } from '#kube/machinery/names.ts';
import { validateImmutable } from '#kube/machinery/object-meta.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { applyTemplateDefaults } from '../pod/defaults.ts';
import { validatePodTemplate } from '../pod/validation.ts';
import { matcherOf, validateLabelSelector } from '../selector-rules.ts';
import { checkDomainPrefixedPath, checkNonNegative, maxInt32 } from '../text-rules.ts';
import { validatePodFailurePolicy, validateSuccessPolicy } from './job-policies.ts';
import { validateJobStatus } from './job-status.ts';

export const jobStrategy: Strategy<Job> = {
  validateName: dns1123SubdomainName,
  applyDefaults(job) {
    applyJobSpecDefaults(job.spec);
    const labels = job.spec.template.metadata?.labels;
    if (labels !== undefined && Object.keys(job.metadata.labels ?? {}).length === 0)
      job.metadata.labels = { ...labels };
  },
  prepareForCreate(job) {
    job.status = {};
    generateSelector(job);
  },
  validate: (job) => [
    ...validateGeneratedSelector(job),
    ...validateSelectedSpec(job.spec, field('spec')),
    ...validateHostNames(job),
  ],
  validateUpdate: validateSpecUpdate,
  orphansByDefault: {
    warning:
      'child pods are preserved by default when jobs are deleted; set propagationPolicy=Background ' +
      'to remove them or set propagationPolicy=Orphan to suppress this warning',
  },
};

export const jobStatus: StatusSubresource<Job> = {
  type: 'status',
  validateUpdate: validateJobStatus,
};

export function applyJobSpecDefaults(spec: JobSpec): void {
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
  spec.parallelism ??= 1;
  spec.backoffLimit ??= spec.backoffLimitPerIndex === undefined ? 6 : maxInt32;
  spec.completionMode ??= 'NonIndexed';
  spec.suspend ??= false;
  spec.manualSelector ??= false;
  spec.podReplacementPolicy ??=
    spec.podFailurePolicy === undefined ? 'TerminatingOrFailed' : 'Failed';
  for (const rule of spec.podFailurePolicy?.rules ?? [])
    for (const pattern of rule.onPodConditions ?? []) pattern.status ||= 'True';
  applyTemplateDefaults(spec.template);
}

const uidLabel = 'batch.kubernetes.io/controller-uid';
const nameLabel = 'batch.kubernetes.io/job-name';

/** Those of before Kubernetes' labels had a prefix come along. */
function generatedLabels({ metadata }: Job): Record<string, string> {
  const { uid = '', name } = metadata;
  return { 'controller-uid': uid, 'job-name': name, [uidLabel]: uid, [nameLabel]: name };
}

/** What the author gave wins: validation refuses it if it conflicts. */
function generateSelector(job: Job): void {
  const { spec, metadata } = job;
  if (spec.manualSelector === true) return;
  const { metadata: templateMeta } = spec.template;
  spec.template.metadata = {
    ...templateMeta,
    labels: { ...generatedLabels(job), ...templateMeta?.labels },
  } as typeof templateMeta & object;
  const matchLabels = { [uidLabel]: metadata.uid ?? '', ...spec.selector?.matchLabels };
  spec.selector = { ...spec.selector, matchLabels };
}

function validateGeneratedSelector(job: Job): FieldError[] {
  const { spec, metadata } = job;
  if (spec.manualSelector === true || spec.selector === undefined) return [];
  const labels = spec.template.metadata?.labels ?? {};
  const at = field('spec', 'template', 'metadata', 'labels');
  const wanted = generatedLabels(job);
  const errors = Object.entries(wanted).flatMap(([key, value]) => {
    const found = labels[key];
    if (found === undefined) return [required(at, `must be '${value}'`)];
    return found === value ? [] : [invalid(at, labels, `must be '${value}'`)];
  });
  if ((metadata.uid ?? '') === '') errors.unshift(required(field('metadata', 'uid'), ''));
  if (matcherOf(spec.selector)?.matches(wanted) === false)
    errors.push(invalid(field('spec', 'selector'), spec.selector, '`selector` not auto-generated'));
  return errors;
}

function validateSelectedSpec(spec: JobSpec, path: FieldPath): FieldError[] {
  const { selector, template } = spec;
  const at = path.child('selector');
  const errors = validateJobSpec(spec, path);
  errors.push(
    ...(selector === undefined ? [required(at, '')] : validateLabelSelector(selector, at)),
  );
  const labels = template.metadata?.labels;
  if (matcherOf(selector)?.matches(labels ?? {}) === false)
    errors.push(
      invalid(
        path.child('template', 'metadata', 'labels'),
        labels,
        '`selector` does not match template `labels`',
      ),
    );
  return errors;
}

/** The pods of an indexed job are called after it, with the index behind. */
function validateHostNames({ metadata, spec }: Job): FieldError[] {
  const { completionMode, completions = 0 } = spec;
  if (completionMode !== 'Indexed' || completions <= 0) return [];
  const last = `${metadata.name}-${completions - 1}`;
  if (isDns1123Label(last).length === 0) return [];
  const detail = `will not able to create pod with invalid DNS label: ${last}`;
  return [invalid(field('metadata', 'name'), metadata.name, detail)];
}

const countFields = [
  'parallelism',
  'completions',
  'activeDeadlineSeconds',
  'backoffLimit',
  'ttlSecondsAfterFinished',
  'backoffLimitPerIndex',
  'maxFailedIndexes',
] as const;
const completionModes = ['NonIndexed', 'Indexed'];
const maxManagedByLength = 63;

/** Also of the jobs that a CronJob makes, which have no selector yet. */
export function validateJobSpec(spec: JobSpec, path: FieldPath): FieldError[] {
  const { managedBy, completionMode = 'NonIndexed', podFailurePolicy, successPolicy } = spec;
  const errors = countFields.flatMap((name) => checkNonNegative(path.child(name), spec[name]));
  if (spec.maxFailedIndexes !== undefined && spec.backoffLimitPerIndex === undefined)
    errors.push(required(path.child('backoffLimitPerIndex'), 'when maxFailedIndexes is specified'));
  if (managedBy !== undefined) {
    errors.push(...checkDomainPrefixedPath(path.child('managedBy'), managedBy));
    if (byteLength(managedBy) > maxManagedByLength)
      errors.push(tooLong(path.child('managedBy'), maxManagedByLength));
  }
  if (!completionModes.includes(completionMode))
    errors.push(notSupported(path.child('completionMode'), completionMode, completionModes));
  if (completionMode === 'Indexed') errors.push(...validateIndexed(spec, path));
  if (completionMode === 'NonIndexed')
    for (const name of ['backoffLimitPerIndex', 'maxFailedIndexes'] as const)
      if (spec[name] !== undefined)
        errors.push(invalid(path.child(name), spec[name], 'requires indexed completion mode'));
  if (podFailurePolicy !== undefined)
    errors.push(...validatePodFailurePolicy(spec, path.child('podFailurePolicy')));
  if (successPolicy !== undefined)
    errors.push(...validateSuccessPolicy(spec, path.child('successPolicy')));
  return [
    ...errors,
    ...validateReplacement(spec, path.child('podReplacementPolicy')),
    ...validatePodTemplate(spec.template, path.child('template')),
    ...validateRestartPolicy(spec, path.child('template', 'spec', 'restartPolicy')),
  ];
}

const maxParallelism = 100_000;
const manyCompletions = 100_000;
const limitOfMany = 10_000;

function validateIndexed(spec: JobSpec, path: FieldPath): FieldError[] {
  const { completions, parallelism = 0, maxFailedIndexes, backoffLimitPerIndex } = spec;
  const errors: FieldError[] = [];
  const atMost = (name: keyof JobSpec, limit: string) =>
    errors.push(invalid(path.child(name), spec[name], `must be less than or equal to ${limit}`));
  if (completions === undefined)
    errors.push(required(path.child('completions'), 'when completion mode is Indexed'));
  if (parallelism > maxParallelism)
    atMost('parallelism', `${maxParallelism} when completion mode is Indexed`);
  if (maxFailedIndexes !== undefined) {
    if (completions !== undefined && maxFailedIndexes > completions)
      atMost('maxFailedIndexes', 'completions');
    if (maxFailedIndexes > maxParallelism) atMost('maxFailedIndexes', `${maxParallelism}`);
  }
  if ((completions ?? 0) > manyCompletions && backoffLimitPerIndex !== undefined) {
    const when =
      `${limitOfMany} when completions are above ${manyCompletions} ` +
      'and used with backoff limit per index';
    if (maxFailedIndexes === undefined)
      errors.push(
        required(
          path.child('maxFailedIndexes'),
          `must be specified when completions is above ${manyCompletions}`,
        ),
      );
    if (parallelism > limitOfMany) atMost('parallelism', when);
    if ((maxFailedIndexes ?? 0) > limitOfMany) atMost('maxFailedIndexes', when);
  }
  return errors;
}

function validateReplacement(spec: JobSpec, path: FieldPath): FieldError[] {
  const { podReplacementPolicy, podFailurePolicy } = spec;
  if (podReplacementPolicy === undefined) return [];
  const supported = podFailurePolicy === undefined ? ['Failed', 'TerminatingOrFailed'] : ['Failed'];
  return supported.includes(podReplacementPolicy)
    ? []
    : [notSupported(path, podReplacementPolicy, supported)];
}

function validateRestartPolicy(spec: JobSpec, path: FieldPath): FieldError[] {
  const policy = spec.template.spec?.restartPolicy ?? '';
  switch (policy) {
    case '':
    case 'Always':
      return [required(path, 'valid values: "OnFailure", "Never"')];
    case 'OnFailure':
      return spec.podFailurePolicy === undefined
        ? []
        : [invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')];
    case 'Never':
      return [];
    default:
      return [notSupported(path, policy, ['OnFailure', 'Never'])];
  }
}

function validateSpecUpdate({ spec: next }: Job, { spec: old, status }: Job): FieldError[] {
  const path = field('spec');
  const isStarted = status?.startTime !== undefined;
  const frozen = [
    'completionMode',
    'podFailurePolicy',
    'backoffLimitPerIndex',
    'managedBy',
    'successPolicy',
  ] as const;
  return [
    ...validateCompletions(next, old, path.child('completions')),
    ...validateImmutable(next.selector, old.selector, path.child('selector')),
    ...validateTemplateUpdate(next, old, old.suspend === true && !isStarted),
    ...frozen.flatMap((name) => validateImmutable(next[name], old[name], path.child(name))),
  ];
}

function validateCompletions(next: JobSpec, old: JobSpec, path: FieldPath): FieldError[] {
  if (next.completionMode !== 'Indexed')
    return validateImmutable(next.completions, old.completions, path);
  if (next.completions === undefined || next.completions === old.completions) return [];
  if (next.completions === next.parallelism) return [];
  const detail = 'can only be modified in tandem with spec.parallelism';
  return [invalid(path, next.completions, detail)];
}

/** Before its first pod, a suspended job may still be told where to run. */
function validateTemplateUpdate(next: JobSpec, old: JobSpec, isMovable: boolean): FieldError[] {
  const path = field('spec', 'template');
  if (!isMovable || deepEqual(next.template, old.template))
    return validateImmutable(next.template, old.template, path);
  const allowed = deepCopy(old.template);
  const { spec: to, metadata } = next.template;
  const from = allowed.spec ?? { containers: [] };
  const nodeAffinity = to?.affinity?.nodeAffinity;
  const affinity = { ...from.affinity, nodeAffinity };
  if (nodeAffinity === undefined) delete affinity.nodeAffinity;
  const isAffinityLeft = Object.keys(affinity).length > 0 || to?.affinity !== undefined;
  allowed.spec = {
    ...from,
    affinity: isAffinityLeft ? affinity : undefined,
    nodeSelector: to?.nodeSelector,
    tolerations: to?.tolerations,
    schedulingGates: to?.schedulingGates,
  };
  allowed.metadata = {
    ...allowed.metadata,
    annotations: metadata?.annotations,
    labels: metadata?.labels,
  } as typeof allowed.metadata & object;
  return validateImmutable(next.template, allowed, path);
}
