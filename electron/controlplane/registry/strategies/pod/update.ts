// What may change in a pod once it exists, and in its status.
// Differs: the answer to a forbidden change names the changed fields instead of Go's diff.
// Source: kubernetes pkg/apis/core/validation/validation.go ValidatePodUpdate,
// ValidatePodStatusUpdate.
import type { Container, ContainerStatus, Pod, PodSpec, Toleration } from '#kube/api/core.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  field,
  forbidden,
  invalid,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { isDns1123Subdomain, isQualifiedName } from '#kube/machinery/names.ts';
import { asGiven, check, immutableMessage, isIP, maxInt32, rangeMessage } from '../text-rules.ts';

const updatableFields = [
  '`spec.containers[*].image`',
  '`spec.initContainers[*].image`',
  '`spec.activeDeadlineSeconds`',
  '`spec.tolerations` (only additions to existing tolerations)',
  '`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)',
];

export function validatePodUpdate(next: Pod, old: Pod): FieldError[] {
  const path = field('spec');
  const errors: FieldError[] = [];
  for (const list of ['containers', 'initContainers'] as const) {
    const before = old.spec[list] ?? [];
    const after = next.spec[list] ?? [];
    if (before.length !== after.length)
      return [
        ...errors,
        forbidden(path.child(list), 'pod updates may not add or remove containers'),
      ];
    errors.push(...validateImages(after, path.child(list)));
  }
  const deadline = validateDeadline(next.spec, old.spec, path.child('activeDeadlineSeconds'));
  errors.push(...deadline);
  if (deadline.length > 0 && next.spec.activeDeadlineSeconds !== undefined) return errors;
  errors.push(...validateOnlyAdded(next.spec, old.spec, path.child('tolerations')));
  errors.push(...validateGates(next.spec, old.spec, path.child('schedulingGates')));
  const changed = changedFields(withoutUpdatable(next.spec, old.spec), old.spec);
  if (changed.length > 0) {
    const detail = `pod updates may not change fields other than ${updatableFields.join(',')}`;
    errors.push(forbidden(path, `${detail}\nchanged: ${changed.join(', ')}\n`));
  }
  return errors;
}

function validateImages(containers: readonly Container[], path: FieldPath): FieldError[] {
  return containers.flatMap(({ image = '' }, index) => {
    const at = path.index(index).child('image');
    if (image === '') return [required(at, '')];
    return image === image.trim()
      ? []
      : [invalid(at, image, 'must not have leading or trailing whitespace')];
  });
}

function validateDeadline(next: PodSpec, old: PodSpec, path: FieldPath): FieldError[] {
  const after = next.activeDeadlineSeconds;
  const before = old.activeDeadlineSeconds;
  if (after === undefined)
    return before === undefined
      ? []
      : [invalid(path, undefined, 'must not update from a positive integer to nil value')];
  if (after < 0 || after > maxInt32) return [invalid(path, after, rangeMessage(0, maxInt32))];
  return before !== undefined && before < after
    ? [invalid(path, after, 'must be less than or equal to previous value')]
    : [];
}

function validateOnlyAdded(next: PodSpec, old: PodSpec, path: FieldPath): FieldError[] {
  const after = (next.tolerations ?? []).map(withoutSeconds);
  const isKept = (old.tolerations ?? []).every((toleration) =>
    after.some((candidate) => deepEqual(candidate, withoutSeconds(toleration))),
  );
  if (isKept) return [];
  return [forbidden(path, 'existing toleration can not be modified except its tolerationSeconds')];
}

function withoutSeconds(toleration: Toleration): Toleration {
  const copy = { ...toleration };
  delete copy.tolerationSeconds;
  return copy;
}

function validateGates(next: PodSpec, old: PodSpec, path: FieldPath): FieldError[] {
  const before = new Set((old.schedulingGates ?? []).map((gate) => gate.name));
  return (next.schedulingGates ?? []).flatMap(({ name }, index) =>
    before.has(name)
      ? []
      : [
          forbidden(
            path.index(index).child('name'),
            `only deletion is allowed, but found new scheduling gate '${name}'`,
          ),
        ],
  );
}

/** The new spec with everything that may change set back to what it was. */
function withoutUpdatable(next: PodSpec, old: PodSpec): PodSpec {
  const withOldImages = (after: Container[] | undefined, before: Container[] | undefined) =>
    after?.map((container, index) => ({ ...container, image: before?.[index]?.image }));
  const same: Record<string, unknown> = {
    ...next,
    containers: withOldImages(next.containers, old.containers),
    initContainers: withOldImages(next.initContainers, old.initContainers),
    activeDeadlineSeconds: old.activeDeadlineSeconds,
    schedulingGates: old.schedulingGates,
    tolerations: old.tolerations,
  };
  const wasNegative = (old.terminationGracePeriodSeconds ?? 0) < 0;
  if (wasNegative && next.terminationGracePeriodSeconds === 1)
    same['terminationGracePeriodSeconds'] = old.terminationGracePeriodSeconds;
  return same as unknown as PodSpec;
}

function changedFields(next: PodSpec, old: PodSpec): string[] {
  const after: Partial<Record<string, unknown>> = { ...next };
  const before: Partial<Record<string, unknown>> = { ...old };
  const names = new Set([...Object.keys(after), ...Object.keys(before)]);
  return [...names].filter((name) => !isSame(after[name], before[name])).map((n) => `spec.${n}`);
}

/** An empty list or map is the same as none. */
function isSame(a: unknown, b: unknown): boolean {
  return deepEqual(a, b) || (isEmpty(a) && isEmpty(b));
}

function isEmpty(value: unknown): boolean {
  return value === undefined || (Array.isArray(value) && value.length === 0);
}

const systemConditions = new Set(['PodScheduled', 'Ready', 'Initialized']);

export function validatePodStatusUpdate(next: Pod, old: Pod): FieldError[] {
  const path = field('status');
  const { status = {} } = next;
  const before = old.status ?? {};
  const errors = (status.conditions ?? [])
    .map(asGiven)
    .flatMap(({ type = '' }, index) =>
      systemConditions.has(type)
        ? []
        : check(
            field('metadata', 'conditions').index(index).child('Type'),
            type,
            isQualifiedName(type),
          ),
    );
  const { nominatedNodeName = '' } = status;
  if (nominatedNodeName !== '' && nominatedNodeName !== before.nominatedNodeName)
    errors.push(
      ...check(
        path.child('nominatedNodeName'),
        nominatedNodeName,
        isDns1123Subdomain(nominatedNodeName),
      ),
    );
  if (status.qosClass !== before.qosClass)
    errors.push(invalid(path.child('qosClass'), status.qosClass, immutableMessage));
  for (const list of ['containerStatuses', 'initContainerStatuses'] as const)
    errors.push(...validateTransitions(next, before[list] ?? [], list, path.child(list)));
  const { podIP = '' } = status;
  if (podIP !== '') errors.push(...check(path.child('podIP'), podIP, isIP(podIP)));
  for (const [list, entries] of [
    ['podIPs', status.podIPs ?? []],
    ['hostIPs', status.hostIPs ?? []],
  ] as const)
    for (const [index, { ip = '' }] of entries.map((entry) => asGiven(entry)).entries())
      errors.push(...check(path.child(list).index(index), ip, isIP(ip)));
  return errors;
}

/** A container that must not be restarted does not come back to life. */
function validateTransitions(
  next: Pod,
  before: readonly ContainerStatus[],
  list: 'containerStatuses' | 'initContainerStatuses',
  path: FieldPath,
): FieldError[] {
  const { restartPolicy, initContainers = [] } = next.spec;
  if (restartPolicy === 'Always') return [];
  return before.flatMap((status, index) => {
    const ended = status.state?.terminated;
    if (ended === undefined) return [];
    if (ended.exitCode !== 0 && restartPolicy === 'OnFailure') return [];
    const isSidecar = initContainers.some(
      (container) => container.name === status.name && container.restartPolicy === 'Always',
    );
    if (list === 'initContainerStatuses' && isSidecar) return [];
    const after = next.status?.[list]?.find((candidate) => candidate.name === status.name);
    if (after === undefined || after.state?.terminated !== undefined) return [];
    const why = 'may not be transitioned to non-terminated state';
    return [forbidden(path.index(index).child('state'), why)];
  });
}
