// Ephemeral containers: what they may be, and that they can only be added.
// Differs: the answer to a change names the container instead of Go's diff.
// Source: kubernetes pkg/apis/core/validation/validation.go validateEphemeralContainers,
// ValidatePodEphemeralContainersUpdate.
import type { EphemeralContainer, Pod, PodSpec } from '#kube/api/core.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  duplicate,
  field,
  forbidden,
  notFound,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { validateContainer } from './containers.ts';
import { validateVolumes } from './volumes.ts';

export function validateEphemeralContainersUpdate(next: Pod, old: Pod): FieldError[] {
  const path = field('spec', 'ephemeralContainers');
  const after = next.spec.ephemeralContainers ?? [];
  const errors = validateEphemeralContainers(after, next.spec, path);
  for (const before of old.spec.ephemeralContainers ?? []) {
    const kept = after.find(({ name }) => name === before.name);
    const which = `existing ephemeral containers "${before.name}" may not be`;
    if (kept === undefined) errors.push(forbidden(path, `${which} removed\n`));
    else if (!deepEqual(kept, before)) errors.push(forbidden(path, `${which} changed\n`));
  }
  return errors;
}

const unsuitable = [
  'lifecycle',
  'livenessProbe',
  'ports',
  'readinessProbe',
  'resizePolicy',
  'resources',
  'restartPolicy',
  'restartPolicyRules',
  'startupProbe',
] as const;
const unsuitableMessage = 'cannot be set for an Ephemeral Container';

function validateEphemeralContainers(
  list: readonly EphemeralContainer[],
  spec: PodSpec,
  path: FieldPath,
): FieldError[] {
  const others = new Set(
    [...(spec.containers ?? []), ...(spec.initContainers ?? [])].map(({ name }) => name),
  );
  const names = new Set(others);
  const scope = {
    volumes: validateVolumes(spec.volumes ?? [], field('spec', 'volumes')).legal,
    graceSeconds: spec.terminationGracePeriodSeconds,
    restartPolicy: spec.restartPolicy,
  };
  const errors: FieldError[] = [];
  for (const [index, container] of list.entries()) {
    const at = path.index(index);
    errors.push(...validateContainer(container, scope, at));
    if (names.has(container.name)) errors.push(duplicate(at.child('name'), container.name));
    names.add(container.name);
    const target = container.targetContainerName ?? '';
    if (target !== '' && !others.has(target))
      errors.push(notFound(at.child('targetContainerName'), target));
    errors.push(...validateFields(container, at));
  }
  return errors;
}

function validateFields(container: EphemeralContainer, path: FieldPath): FieldError[] {
  const errors = unsuitable
    .filter((name) => !isEmpty(container[name]))
    .map((name) => forbidden(path.child(name), unsuitableMessage));
  for (const [index, mount] of (container.volumeMounts ?? []).entries())
    for (const name of ['subPath', 'subPathExpr'] as const)
      if ((mount[name] ?? '') !== '')
        errors.push(
          forbidden(path.child('volumeMounts').index(index).child(name), unsuitableMessage),
        );
  return errors;
}

function isEmpty(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === undefined || value === '';
}
