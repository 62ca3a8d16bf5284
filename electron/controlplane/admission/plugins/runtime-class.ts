// RuntimeClass: a pod is charged what its runtime takes for itself, and goes where that runtime is.
// Source: kubernetes plugin/pkg/admission/runtimeclass/admission.go.
import type { Pod, PodSpec } from '#kube/api/core.ts';
import type { RuntimeClass } from '#kube/api/node.ts';
import { deepCopy, deepEqual } from '#kube/machinery/equality.ts';
import { isSameAmounts } from '#kube/machinery/quota/amounts.ts';
import { forbidden } from '#kube/machinery/status.ts';
import type { AdmissionAttributes, AdmissionPlugin, ObjectReader } from '../chain.ts';

const runtimeClasses = { group: 'node.k8s.io', version: 'v1', resource: 'runtimeclasses' };

export function runtimeClass(reader: ObjectReader): AdmissionPlugin {
  return {
    name: 'RuntimeClass',
    handles: ({ operation, resource, subresource }) =>
      operation === 'CREATE' &&
      subresource === '' &&
      resource.group === '' &&
      resource.resource === 'pods',
    async admit(attributes) {
      const { spec } = attributes.object as Pod;
      const found = await classOf(spec, attributes, reader);
      const overhead = found?.overhead?.podFixed;
      if (overhead !== undefined) {
        if (spec.overhead !== undefined && !isSameAmounts(spec.overhead, overhead))
          throw refusal(attributes, "Pod's Overhead doesn't match RuntimeClass's defined Overhead");
        spec.overhead = { ...overhead };
      }
      setPlace(spec, found?.scheduling, attributes);
    },
    async validate(attributes) {
      const { spec } = attributes.object as Pod;
      const found = await classOf(spec, attributes, reader);
      const overhead = found?.overhead;
      if (overhead === undefined && spec.overhead !== undefined)
        throw refusal(
          attributes,
          'Pod Overhead set without corresponding RuntimeClass defined Overhead',
        );
      if (overhead !== undefined && !isSameAmounts(spec.overhead, overhead.podFixed))
        throw refusal(attributes, "Pod's Overhead doesn't match RuntimeClass's defined Overhead");
    },
  };
}

function refusal({ resource, name }: AdmissionAttributes, why: string): Error {
  return forbidden(resource, name, `pod rejected: ${why}`);
}

async function classOf(
  { runtimeClassName }: PodSpec,
  attributes: AdmissionAttributes,
  reader: ObjectReader,
): Promise<RuntimeClass | undefined> {
  if (runtimeClassName === undefined) return undefined;
  const found = await reader.get(runtimeClasses, '', runtimeClassName);
  if (found === undefined)
    throw refusal(attributes, `RuntimeClass "${runtimeClassName}" not found`);
  return found as RuntimeClass;
}

function setPlace(
  spec: PodSpec,
  { nodeSelector = {}, tolerations = [] }: NonNullable<RuntimeClass['scheduling']> = {},
  { resource, name }: AdmissionAttributes,
): void {
  const given = spec.nodeSelector ?? {};
  for (const [key, value] of Object.entries(nodeSelector)) {
    const own = Object.hasOwn(given, key) ? given[key] : undefined;
    if (own === undefined || own === value) continue;
    const why = `conflict: runtimeClass.scheduling.nodeSelector[${key}] = ${value}; pod.spec.nodeSelector[${key}] = ${own}`;
    throw forbidden(resource, name, why);
  }
  if (Object.keys(nodeSelector).length > 0) spec.nodeSelector = { ...given, ...nodeSelector };
  const own = spec.tolerations ?? [];
  const missing = tolerations.filter((one) => !own.some((other) => deepEqual(one, other)));
  if (missing.length > 0) spec.tolerations = [...own, ...deepCopy(missing)];
}
