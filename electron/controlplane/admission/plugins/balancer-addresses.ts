// Refuses a pool of addresses that can't be read, when it is written: later only Services could tell of it.
import type { ConfigMap } from '#kube/api/core.ts';
import { parseAddressPool, poolConfigMap } from '#kube/machinery/address-pool.ts';
import { field, invalid as invalidField } from '#kube/machinery/field.ts';
import { invalid } from '#kube/machinery/status.ts';
import type { AdmissionPlugin } from '../chain.ts';

export function balancerAddresses(): AdmissionPlugin {
  const { namespace, name, key } = poolConfigMap;
  return {
    name: 'BalancerAddresses',
    handles: (request) =>
      (request.operation === 'CREATE' || request.operation === 'UPDATE') &&
      request.resource.group === '' &&
      request.resource.resource === 'configmaps' &&
      request.namespace === namespace &&
      request.name === name,
    validate({ kind, object }) {
      const text = (object as ConfigMap).data?.[key] ?? '';
      const problem = parseAddressPool(text);
      if (typeof problem === 'string')
        throw invalid(kind, name, [invalidField(field('data', key), text, problem)]);
    },
  };
}
