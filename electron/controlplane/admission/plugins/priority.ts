// Priority: turns a pod's priority class into a number and a preemption policy; one class at most is
// the default of pods that name none.
// Source: kubernetes plugin/pkg/admission/priority/admission.go.
import type { Pod } from '#kube/api/core.ts';
import type { PriorityClass } from '#kube/api/scheduling.ts';
import { forbidden } from '#kube/machinery/status.ts';
import type { AdmissionAttributes, AdmissionPlugin, ObjectReader } from '../chain.ts';

const priorityClasses = {
  group: 'scheduling.k8s.io',
  version: 'v1',
  resource: 'priorityclasses',
};
const noClass = { value: 0, preemptionPolicy: 'PreemptLowerPriority' };

export function priority(reader: ObjectReader): AdmissionPlugin {
  return {
    name: 'Priority',
    handles: ({ operation, resource, subresource }) =>
      subresource === '' &&
      (operation === 'CREATE' || operation === 'UPDATE') &&
      (isPods(resource) || isClasses(resource)),
    async admit(attributes) {
      if (!isPods(attributes.resource)) return;
      if (attributes.operation === 'CREATE') return setPriority(attributes, reader);
      keepPriority(attributes);
    },
    validate({ operation, resource, name, object }) {
      if (!isClasses(resource) || (object as PriorityClass).globalDefault !== true) return;
      const current = defaultClass(reader)?.metadata.name;
      if (current === undefined || (operation === 'UPDATE' && current === name)) return;
      const why = `PriorityClass ${current} is already marked as default. Only one default can exist`;
      throw forbidden(resource, name, why);
    },
  };
}

function isPods({ group, resource }: AdmissionAttributes['resource']): boolean {
  return group === '' && resource === 'pods';
}

function isClasses({ group, resource }: AdmissionAttributes['resource']): boolean {
  return group === priorityClasses.group && resource === priorityClasses.resource;
}

async function setPriority(
  { object, name, resource }: AdmissionAttributes,
  reader: ObjectReader,
): Promise<void> {
  const { spec } = object as Pod;
  const refuse = (why: string) => forbidden(resource, name, why);
  let found: PriorityClass | undefined;
  if ((spec.priorityClassName ?? '') === '') {
    found = defaultClass(reader);
    if (found !== undefined) spec.priorityClassName = found.metadata.name;
  } else {
    const wanted = spec.priorityClassName ?? '';
    found = (await reader.get(priorityClasses, '', wanted)) as PriorityClass | undefined;
    if (found === undefined) throw refuse(`no PriorityClass with name ${wanted} was found`);
  }
  const { value = 0, preemptionPolicy = noClass.preemptionPolicy } = found ?? noClass;
  if (spec.priority !== undefined && spec.priority !== value)
    throw refuse(
      `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${value} from the given PriorityClass name`,
    );
  if (spec.preemptionPolicy !== undefined && spec.preemptionPolicy !== preemptionPolicy)
    throw refuse(
      `the string value of PreemptionPolicy (${spec.preemptionPolicy}) must not be provided in pod spec; priority admission controller computed ${preemptionPolicy} from the given PriorityClass name`,
    );
  spec.priority = value;
  spec.preemptionPolicy = preemptionPolicy;
}

/** Clients that don't know the fields leave them out: that is not a change. */
function keepPriority({ object, oldObject }: AdmissionAttributes): void {
  const { spec } = object as Pod;
  const { priority: number, preemptionPolicy } = (oldObject as Pod).spec;
  if (spec.priority === undefined && number !== undefined) spec.priority = number;
  if (spec.preemptionPolicy === undefined && preemptionPolicy !== undefined)
    spec.preemptionPolicy = preemptionPolicy;
}

/** If two were made at once, the one of lower value. */
function defaultClass(reader: ObjectReader): PriorityClass | undefined {
  const all = reader.list(priorityClasses, '') as unknown as readonly PriorityClass[];
  return all
    .filter(({ globalDefault }) => globalDefault === true)
    .toSorted((a, b) => (a.value ?? 0) - (b.value ?? 0))[0];
}
