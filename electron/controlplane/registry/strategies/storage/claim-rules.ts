// What PersistentVolumes and PersistentVolumeClaims have in common: access modes, sizes, classes.
// Source: kubernetes pkg/apis/core/validation/validation.go.
import type { Quantity } from '#kube/api/scalars.ts';
import {
  forbidden,
  invalid,
  notSupported,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { isDns1123Subdomain } from '#kube/machinery/names.ts';
import { parseQuantity, validateQuantity } from '#kube/machinery/quantity.ts';
import { canonicalOrSame, isNegative } from '../quantities.ts';
import { check, negativeMessage } from '../text-rules.ts';

const accessModes = ['ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOnce', 'ReadWriteOncePod'];

export function validateAccessModes(modes: readonly string[], path: FieldPath): FieldError[] {
  const errors = modes
    .filter((mode) => !accessModes.includes(mode))
    .map((mode) => notSupported(path, mode, accessModes));
  const known = modes.filter((mode) => accessModes.includes(mode));
  const isAlone = known.every((mode) => mode === 'ReadWriteOncePod');
  if (known.includes('ReadWriteOncePod') && !isAlone)
    errors.push(forbidden(path, 'may not use ReadWriteOncePod with other access modes'));
  return errors;
}

export function validateVolumeMode(mode: string | undefined, path: FieldPath): FieldError[] {
  const modes = ['Block', 'Filesystem'];
  return mode === undefined || modes.includes(mode) ? [] : [notSupported(path, mode, modes)];
}

/** Empty is no class at all, which is fine. */
export function validateClassName(name: string | undefined, path: FieldPath): FieldError[] {
  return (name ?? '') === '' ? [] : check(path, name, isDns1123Subdomain(name ?? ''));
}

export function validatePositive(quantity: Quantity, path: FieldPath): FieldError[] {
  const problem = validateQuantity(quantity);
  if (problem !== undefined) return [invalid(path, quantity, problem)];
  return parseQuantity(quantity).nanos > 0n
    ? []
    : [invalid(path, canonicalOrSame(quantity), 'must be greater than zero')];
}

export function validateNonNegativeQuantity(quantity: Quantity, path: FieldPath): FieldError[] {
  const problem = validateQuantity(quantity);
  if (problem !== undefined) return [invalid(path, quantity, problem)];
  return isNegative(quantity) ? [invalid(path, canonicalOrSame(quantity), negativeMessage)] : [];
}
