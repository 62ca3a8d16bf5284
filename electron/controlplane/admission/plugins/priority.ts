// Priority: turns a pod's priority class into a number. Only the two classes every cluster has are
// known yet: other PriorityClass objects are not looked at.
// Source: kubernetes plugin/pkg/admission/priority/admission.go, pkg/apis/scheduling/v1/helpers.go.
import type { Pod } from '#kube/api/core.ts';
import { forbidden } from '#kube/machinery/status.ts';
import type { AdmissionPlugin } from '../chain.ts';

const systemClasses: ReadonlyMap<string, number> = new Map([
  ['', 0],
  ['system-cluster-critical', 2_000_000_000],
  ['system-node-critical', 2_000_001_000],
]);

export function priority(): AdmissionPlugin {
  return {
    name: 'Priority',
    handles: ({ operation, resource, subresource }) =>
      operation === 'CREATE' &&
      subresource === '' &&
      resource.group === '' &&
      resource.resource === 'pods',
    admit({ object, name, resource }) {
      const { spec } = object as Pod;
      const { priorityClassName = '' } = spec;
      const value = systemClasses.get(priorityClassName);
      if (value === undefined)
        throw forbidden(
          resource,
          name,
          `no PriorityClass with name ${priorityClassName} was found`,
        );
      if (spec.priority !== undefined && spec.priority !== value)
        throw forbidden(
          resource,
          name,
          `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${value} from the given PriorityClass name`,
        );
      spec.priority = value;
      spec.preemptionPolicy ??= 'PreemptLowerPriority';
    },
  };
}
