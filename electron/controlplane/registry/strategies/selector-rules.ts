// Label selectors of workloads, and whether their template carries the labels selected.
// Source: kubernetes apimachinery pkg/apis/meta/v1/validation/validation.go.
import type { PodTemplateSpec } from '#kube/api/core.ts';
import type { LabelSelector, LabelSelectorRequirement } from '#kube/api/meta.ts';
import {
  forbidden,
  invalid,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { isLabelValue, isQualifiedName } from '#kube/machinery/names.ts';
import { validateLabels } from '#kube/machinery/object-meta.ts';
import { labelSelectorMatcher, type LabelMatcher } from '#kube/machinery/selector.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { check } from './text-rules.ts';

export function validateLabelSelector(
  selector: LabelSelector | undefined,
  path: FieldPath,
): FieldError[] {
  const { matchLabels, matchExpressions = [] } = selector ?? {};
  return [
    ...validateLabels(matchLabels, path.child('matchLabels')),
    ...matchExpressions.flatMap((requirement, index) =>
      validateRequirement(requirement, path.child('matchExpressions').index(index)),
    ),
  ];
}

function validateRequirement(
  { key = '', operator = '', values = [] }: Partial<LabelSelectorRequirement>,
  path: FieldPath,
): FieldError[] {
  const at = path.child('values');
  const errors: FieldError[] = [];
  switch (operator) {
    case 'In':
    case 'NotIn':
      if (values.length === 0)
        errors.push(required(at, "must be specified when `operator` is 'In' or 'NotIn'"));
      break;
    case 'Exists':
    case 'DoesNotExist':
      if (values.length > 0)
        errors.push(
          forbidden(at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
        );
      break;
    default:
      errors.push(invalid(path.child('operator'), operator, 'not a valid selector operator'));
  }
  errors.push(...check(path.child('key'), key, isQualifiedName(key)));
  for (const [index, value] of values.entries())
    errors.push(...check(at.index(index), value, isLabelValue(value)));
  return errors;
}

export function isEmptySelector({ matchLabels, matchExpressions }: LabelSelector): boolean {
  return Object.keys(matchLabels ?? {}).length + (matchExpressions ?? []).length === 0;
}

/** Undefined when the selector can't be understood. */
export function matcherOf(selector: LabelSelector | undefined): LabelMatcher | undefined {
  try {
    return labelSelectorMatcher(selector);
  } catch (error) {
    if (hasReason(error, 'BadRequest')) return undefined;
    throw error;
  }
}

/** A workload must select the pods it makes. `path` is the template's. */
export function validateSelected(
  matcher: LabelMatcher,
  template: PodTemplateSpec,
  path: FieldPath,
): FieldError[] {
  const labels = template.metadata?.labels;
  if (matcher.isEverything || matcher.matches(labels ?? {})) return [];
  const detail = '`selector` does not match template `labels`';
  return [invalid(path.child('metadata', 'labels'), labels, detail)];
}
