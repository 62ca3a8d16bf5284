// Namespaces: they wait for their content to go before they do (spec.finalizers).
// Source: kubernetes pkg/registry/core/namespace/strategy.go,
// pkg/apis/core/validation/validation.go.
import type { Namespace } from '#kube/api/core.ts';
import { deepCopy } from '#kube/machinery/equality.ts';
import { field, invalid, type FieldError } from '#kube/machinery/field.ts';
import { dns1123LabelName, isQualifiedName } from '#kube/machinery/names.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { check } from '../text-rules.ts';

const contentFinalizer = 'kubernetes';
const nameLabel = 'kubernetes.io/metadata.name';
const standardFinalizers = new Set([contentFinalizer, 'orphan', 'foregroundDeletion']);

export const namespaceStrategy: Strategy<Namespace> = {
  validateName: dns1123LabelName,
  applyDefaults(namespace) {
    namespace.spec ??= {};
    labelWithName(namespace);
  },
  prepareForCreate(namespace) {
    // A generated name is known only now.
    labelWithName(namespace);
    namespace.status = { phase: 'Active' };
    const finalizers = namespace.spec.finalizers ?? [];
    if (!finalizers.includes(contentFinalizer))
      namespace.spec.finalizers = [...finalizers, contentFinalizer];
  },
  prepareForUpdate(next, old) {
    // Only the finalize subresource changes them.
    next.spec = deepCopy(old.spec);
  },
  validate: validateFinalizers,
  hasOwnFinalizers: (namespace) => (namespace.spec?.finalizers ?? []).length > 0,
  onDeletionStart(namespace) {
    namespace.status = { ...namespace.status, phase: 'Terminating' };
  },
  generationFields: 'none',
};

/** So that selectors of namespaces can name one. */
function labelWithName({ metadata }: Namespace): void {
  if ((metadata.name ?? '') === '' || metadata.labels?.[nameLabel] === metadata.name) return;
  metadata.labels = { ...metadata.labels, [nameLabel]: metadata.name };
}

export function validateFinalizers({ spec }: Namespace): FieldError[] {
  const path = field('spec', 'finalizers');
  return (spec?.finalizers ?? []).flatMap((finalizer) => {
    const errors = check(path, finalizer, isQualifiedName(finalizer));
    const why = 'name is neither a standard finalizer name nor is it fully qualified';
    if (!finalizer.includes('/') && !standardFinalizers.has(finalizer))
      errors.push(invalid(path, finalizer, why));
    return errors;
  });
}

export const namespaceStatus: StatusSubresource<Namespace> = {
  type: 'status',
  validateUpdate({ metadata, status }) {
    const isDeleted = metadata.deletionTimestamp !== undefined;
    const wanted = isDeleted ? 'Terminating' : 'Active';
    if (status?.phase === wanted) return [];
    const detail = `may only be '${wanted}' if \`deletionTimestamp\` is ${isDeleted ? 'not ' : ''}empty`;
    return [invalid(field('status', 'Phase'), status?.phase, detail)];
  },
};
