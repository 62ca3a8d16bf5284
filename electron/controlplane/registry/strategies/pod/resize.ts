// How much CPU and memory a pod's containers may have, changed while they run.
// Differs: memory limits may be lowered, as since 1.34; pods with resources of their own can't be
// resized, as before 1.36.
// Source: kubernetes pkg/registry/core/pod/strategy.go (podResizeStrategy),
// pkg/apis/core/validation/validation.go ValidatePodResize.
import type { Container, Pod, PodSpec } from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import { deepCopy, deepEqual } from '#kube/machinery/equality.ts';
import {
  field,
  forbidden,
  invalid,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { podQosClass } from '#kube/machinery/qos.ts';
import type { StatusSubresource } from '../../resource.ts';
import { validatePod } from './validation.ts';

const lists = ['containers', 'initContainers'] as const;

/** Changes resources and resizePolicy of containers, and nothing else. */
export const podResize: StatusSubresource<Pod> = {
  type: 'status',
  changesSpec: true,
  prepareForUpdate(next, old) {
    // What is left out of a list, or put elsewhere in it, is for validation to see.
    if (orderErrors(next, old).length > 0) return;
    const resized = lists.map((list) => resizedContainers(next.spec[list], old.spec[list]));
    const { labels, annotations, finalizers, ownerReferences } = deepCopy(old.metadata);
    Object.assign(next.metadata, { labels, annotations, finalizers, ownerReferences });
    next.spec = deepCopy(old.spec);
    for (const [index, list] of lists.entries())
      if (resized[index] !== undefined) next.spec[list] = resized[index];
    if (old.status === undefined) delete next.status;
    else next.status = deepCopy(old.status);
  },
  onlyFields: lists.flatMap((list) => [
    ['f:spec', `f:${list}`, '*', 'f:resources'],
    ['f:spec', `f:${list}`, '*', 'f:resizePolicy'],
  ]),
  validateUpdate: validatePodResize,
};

function resizedContainers(
  next: readonly Container[] | undefined,
  old: readonly Container[] | undefined,
): Container[] | undefined {
  return old?.map((container, index) => {
    const { resources, resizePolicy } = next?.[index] ?? {};
    const { resources: _r, resizePolicy: _p, ...rest } = deepCopy(container);
    return {
      ...rest,
      ...(resources === undefined ? {} : { resources }),
      ...(resizePolicy === undefined ? {} : { resizePolicy }),
    };
  });
}

export function validatePodResize(next: Pod, old: Pod): FieldError[] {
  const refused = refusedAltogether(next, old);
  if (refused !== undefined) return [forbidden(field(''), refused)];
  const misplaced = orderErrors(next, old);
  const errors = [...validatePod(next), ...misplaced];
  if (misplaced.length > 0) return errors;
  const path = field('spec');
  if (podQosClass(next.spec) !== (old.status?.qosClass ?? podQosClass(old.spec)))
    errors.push(
      invalid(
        path,
        next.status?.qosClass ?? '',
        'Pod QOS Class may not change as a result of resizing',
      ),
    );
  if (!isSupportedByNode(old))
    errors.push(forbidden(path, 'Pod running on node without support for resize'));
  for (const list of ['initContainers', 'containers'] as const)
    for (const [index, container] of (old.spec[list] ?? []).entries()) {
      const at = path.child(list).index(index);
      const after = next.spec[list]?.[index];
      if (after !== undefined && (list === 'containers' || isSidecar(container)))
        errors.push(...removedErrors(after, container, at.child('resources')));
    }
  return [...errors, ...otherResourceErrors(next.spec, old.spec, path)];
}

function refusedAltogether(next: Pod, old: Pod): string | undefined {
  const hasPodResources = ({ spec }: Pod): boolean =>
    [spec.resources?.requests, spec.resources?.limits].some(
      (given) => Object.keys(given ?? {}).length > 0,
    );
  if (hasPodResources(next) || hasPodResources(old))
    return 'pods with pod-level resources cannot be resized';
  if (Object.hasOwn(old.metadata.annotations ?? {}, 'kubernetes.io/config.mirror'))
    return 'static pods cannot be resized';
  return old.spec.os?.name === 'windows' ? 'windows pods cannot be resized' : undefined;
}

function orderErrors(next: Pod, old: Pod): FieldError[] {
  return lists.flatMap((list) => {
    const at = field('spec', list);
    const [after, before] = [next.spec[list] ?? [], old.spec[list] ?? []];
    if (after.length !== before.length)
      return [forbidden(at, `${list} may not be added or removed on resize`)];
    return before.flatMap(({ name }, index) =>
      after[index]?.name === name
        ? []
        : [
            forbidden(
              at.index(index).child('name'),
              `${list} may not be renamed or reordered on resize`,
            ),
          ],
    );
  });
}

/** An agent that reports what its containers have can also change it. */
function isSupportedByNode({ status }: Pod): boolean {
  const running = status?.containerStatuses?.find(({ state }) => state?.running !== undefined);
  return running === undefined || running.resources !== undefined;
}

function removedErrors(next: Container, old: Container, path: FieldPath): FieldError[] {
  return (['requests', 'limits'] as const)
    .filter((part) => {
      const after = next.resources?.[part] ?? {};
      return Object.keys(old.resources?.[part] ?? {}).some((name) => !Object.hasOwn(after, name));
    })
    .map((part) => forbidden(path.child(part), `resource ${part} cannot be removed`));
}

function otherResourceErrors(next: PodSpec, old: PodSpec, path: FieldPath): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, container] of next.containers.entries())
    if (!isSameButCpuAndMemory(container, old.containers[index]))
      errors.push(forbidden(path, 'only cpu and memory resources are mutable'));
  for (const [index, container] of (next.initContainers ?? []).entries()) {
    const before = old.initContainers?.[index];
    if (isSidecar(container)) {
      if (!isSameButCpuAndMemory(container, before))
        errors.push(
          forbidden(path, 'only cpu and memory resources for sidecar containers are mutable'),
        );
    } else if (!deepEqual(container, before))
      errors.push(forbidden(path, 'resources for non-sidecar init containers are immutable'));
  }
  return errors;
}

/** resizePolicy does not change by itself either, as in Kubernetes. */
function isSameButCpuAndMemory(next: Container, old: Container | undefined): boolean {
  const others = (container: Container | undefined) => {
    const { resources = {}, ...rest } = container ?? {};
    const { requests = {}, limits = {}, ...more } = resources;
    return { ...rest, ...more, limits: withoutCompute(limits), requests: withoutCompute(requests) };
  };
  return deepEqual(others(next), others(old));
}

function withoutCompute(quantities: Readonly<Record<string, Quantity>>): object {
  const { cpu: _cpu, memory: _memory, ...rest } = quantities;
  return rest;
}

function isSidecar({ restartPolicy }: Container): boolean {
  return restartPolicy === 'Always';
}
