// Endpoints: addresses behind a service, the elder of EndpointSlice.
// Differs: subsets stay as they are written; Kubernetes sorts and joins them.
// Source: kubernetes pkg/apis/core/validation/validation.go ValidateEndpoints.
import type { EndpointAddress, EndpointPort, Endpoints } from '#kube/api/core.ts';
import { field, required, type FieldError, type FieldPath } from '#kube/machinery/field.ts';
import {
  dns1123SubdomainName,
  isDns1123Label,
  isDns1123Subdomain,
  isQualifiedName,
} from '#kube/machinery/names.ts';
import type { Strategy } from '../../resource.ts';
import { asGiven, check, checkChoice, isEndpointIP, isPortNumber } from '../text-rules.ts';

export const endpointsStrategy: Strategy<Endpoints> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ subsets = [] }) {
    for (const { ports = [] } of subsets) for (const port of ports) port.protocol ||= 'TCP';
  },
  validate: ({ subsets = [] }) =>
    subsets.flatMap((subset, index) => {
      const path = field('subsets').index(index);
      const { addresses = [], notReadyAddresses = [], ports = [] } = subset;
      const isEmpty = addresses.length + notReadyAddresses.length === 0;
      return [
        ...(isEmpty ? [required(path, 'must specify `addresses` or `notReadyAddresses`')] : []),
        ...addresses.flatMap((a, i) => validateAddress(a, path.child('addresses').index(i))),
        ...notReadyAddresses.flatMap((a, i) =>
          validateAddress(a, path.child('notReadyAddresses').index(i)),
        ),
        ...ports.flatMap((port, i) =>
          validatePort(port, ports.length > 1, path.child('ports').index(i)),
        ),
      ];
    }),
  generationFields: 'none',
};

function validateAddress(address: EndpointAddress, path: FieldPath): FieldError[] {
  const { ip = '', hostname = '', nodeName } = asGiven(address);
  return [
    ...check(path.child('ip'), ip, isEndpointIP(ip)),
    ...(hostname === '' ? [] : check(path.child('hostname'), hostname, isDns1123Label(hostname))),
    ...(nodeName === undefined
      ? []
      : check(path.child('nodeName'), nodeName, isDns1123Subdomain(nodeName))),
  ];
}

function validatePort(given: EndpointPort, isNameNeeded: boolean, path: FieldPath): FieldError[] {
  const { name = '', port = 0, protocol, appProtocol } = asGiven(given);
  const at = path.child('name');
  return [
    ...(name === '' ? [] : check(at, name, isDns1123Label(name))),
    ...(name === '' && isNameNeeded ? [required(at, '')] : []),
    ...check(path.child('port'), port, isPortNumber(port)),
    ...checkChoice(path.child('protocol'), protocol, ['SCTP', 'TCP', 'UDP']),
    ...(appProtocol === undefined
      ? []
      : check(path.child('appProtocol'), appProtocol, isQualifiedName(appProtocol))),
  ];
}
