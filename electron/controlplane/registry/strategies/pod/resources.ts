// Requests and limits: known resources, sane amounts, no request above its limit.
// Source: kubernetes pkg/apis/core/validation/validation.go validateResourceRequirements.
import type { ContainerResizePolicy, ResourceRequirements } from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import {
  duplicate,
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { isQualifiedName } from '#kube/machinery/names.ts';
import { compareQuantities, validateQuantity } from '#kube/machinery/quantity.ts';
import { canonicalOrSame, isNegative, isWhole } from '../quantities.ts';
import { check, negativeMessage } from '../text-rules.ts';

export function validateResourceRequirements(
  resources: ResourceRequirements | undefined,
  path: FieldPath,
): FieldError[] {
  const { limits = {}, requests = {} } = resources ?? {};
  const errors: FieldError[] = [];
  for (const [name, quantity] of Object.entries(limits)) {
    const at = path.child('limits').key(name);
    errors.push(
      ...validateContainerResource(name, at),
      ...validateResourceQuantity(name, quantity, at),
    );
  }
  for (const [name, quantity] of Object.entries(requests)) {
    const at = path.child('requests').key(name);
    errors.push(
      ...validateContainerResource(name, at),
      ...validateResourceQuantity(name, quantity, at),
    );
    errors.push(...validateAgainstLimit(name, quantity, limits[name], path));
  }
  const names = [...Object.keys(limits), ...Object.keys(requests)];
  const hasCompute = names.some((name) => name === 'cpu' || name === 'memory');
  if (!hasCompute && names.some(isHugePages))
    errors.push(forbidden(path, 'HugePages require cpu or memory'));
  return errors;
}

/** Amounts of a resource, also in a node's capacity. */
export function validateResourceQuantity(
  name: string,
  quantity: Quantity,
  path: FieldPath,
): FieldError[] {
  const problem = validateQuantity(quantity);
  if (problem !== undefined) return [invalid(path, quantity, problem)];
  const shown = canonicalOrSame(quantity);
  const errors = isNegative(quantity) ? [invalid(path, shown, negativeMessage)] : [];
  if (isCounted(name) && !isWhole(quantity))
    errors.push(invalid(path, shown, 'must be an integer'));
  return errors;
}

function validateAgainstLimit(
  name: string,
  request: Quantity,
  limit: Quantity | undefined,
  path: FieldPath,
): FieldError[] {
  const mayOvercommit = isNative(name) && !isHugePages(name);
  if (limit === undefined)
    return mayOvercommit
      ? []
      : [required(path.child('limits'), 'Limit must be set for non overcommitable resources')];
  if (validateQuantity(request) !== undefined || validateQuantity(limit) !== undefined) return [];
  const order = compareQuantities(request, limit);
  const detail =
    order !== 0 && !mayOvercommit
      ? 'must be equal to'
      : order > 0
        ? 'must be less than or equal to'
        : undefined;
  if (detail === undefined) return [];
  const text = `${detail} ${name} limit of ${canonicalOrSame(limit)}`;
  return [invalid(path.child('requests'), canonicalOrSame(request), text)];
}

const containerResources = new Set(['cpu', 'memory', 'ephemeral-storage']);
export const standardResources: ReadonlySet<string> = new Set([
  ...containerResources,
  'requests.cpu',
  'requests.memory',
  'requests.ephemeral-storage',
  'limits.cpu',
  'limits.memory',
  'limits.ephemeral-storage',
  'pods',
  'resourcequotas',
  'services',
  'replicationcontrollers',
  'secrets',
  'persistentvolumeclaims',
  'configmaps',
  'services.nodeports',
  'services.loadbalancers',
  'storage',
  'requests.storage',
]);
const countedResources = new Set([
  'pods',
  'resourcequotas',
  'services',
  'replicationcontrollers',
  'secrets',
  'configmaps',
  'persistentvolumeclaims',
  'services.nodeports',
  'services.loadbalancers',
]);

function validateContainerResource(name: string, path: FieldPath): FieldError[] {
  const errors = check(path, name, isQualifiedName(name));
  if (errors.length > 0) return errors;
  if (!name.includes('/')) {
    const isKnown = standardResources.has(name) || isHugePages(name);
    if (!isKnown)
      errors.push(invalid(path, name, 'must be a standard resource type or fully qualified'));
    if (!containerResources.has(name) && !isHugePages(name))
      errors.push(invalid(path, name, 'must be a standard resource for containers'));
  } else if (!isNative(name) && !isExtended(name))
    errors.push(invalid(path, name, "doesn't follow extended resource name standard"));
  return errors;
}

export function isHugePages(name: string): boolean {
  return name.startsWith('hugepages-');
}

function isNative(name: string): boolean {
  return !name.includes('/') || name.includes('kubernetes.io/');
}

/** A device or the like: `example.com/gpu`. Comes in whole numbers. */
function isExtended(name: string): boolean {
  if (isNative(name) || name.startsWith('requests.')) return false;
  return isQualifiedName(`requests.${name}`).length === 0;
}

function isCounted(name: string): boolean {
  return countedResources.has(name) || isExtended(name);
}

/** The name of a resource anywhere: a standard one, or one with a domain. */
export function validateResourceName(name: string, path: FieldPath): FieldError[] {
  const errors = check(path, name, isQualifiedName(name));
  if (errors.length > 0 || name.includes('/')) return errors;
  const isKnown = standardResources.has(name) || isHugePages(name);
  return isKnown
    ? []
    : [invalid(path, name, 'must be a standard resource type or fully qualified')];
}

const resizable = ['cpu', 'memory'];
const policies = ['NotRequired', 'RestartContainer'];

export function validateResizePolicy(
  given: readonly ContainerResizePolicy[],
  path: FieldPath,
  podRestartPolicy: string | undefined,
): FieldError[] {
  const names = given.map(({ resourceName }) => resourceName);
  return given.flatMap((policy, index) => {
    const { resourceName = '', restartPolicy = '' } = policy as Partial<ContainerResizePolicy>;
    const errors: FieldError[] = [];
    if (names.indexOf(resourceName) < index)
      errors.push(duplicate(path.index(index), resourceName));
    errors.push(...choice(path, resourceName, resizable), ...choice(path, restartPolicy, policies));
    if (podRestartPolicy === 'Never' && restartPolicy !== 'NotRequired')
      errors.push(
        invalid(path, restartPolicy, "must be 'NotRequired' when `restartPolicy` is 'Never'"),
      );
    return errors;
  });
}

/** For texts that have to be there. */
export function choice(path: FieldPath, value: string, supported: readonly string[]): FieldError[] {
  if (value === '') return [required(path, '')];
  return supported.includes(value) ? [] : [notSupported(path, value, supported)];
}
