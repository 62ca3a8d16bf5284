// Kinds that report or coordinate: Events, Leases and EndpointSlices.
// Source: kubernetes pkg/apis/core/validation/events.go, pkg/apis/coordination/validation,
// pkg/apis/discovery/{v1/defaults.go,validation/validation.go}.
import type { Lease } from '#kube/api/coordination.ts';
import type { Event } from '#kube/api/core.ts';
import type { Endpoint, EndpointPort, EndpointSlice } from '#kube/api/discovery.ts';
import {
  duplicate,
  field,
  invalid,
  notSupported,
  required,
  tooMany,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import {
  dns1123SubdomainName,
  isDns1123Label,
  isDns1123Subdomain,
  isQualifiedName,
} from '#kube/machinery/names.ts';
import type { Strategy } from '../resource.ts';
import {
  asGiven,
  check,
  checkNonNegative,
  immutableMessage,
  isEndpointIP,
  isIPv4,
  isIPv6,
} from './text-rules.ts';

export const eventStrategy: Strategy<Event> = {
  validateName: dns1123SubdomainName,
  applyDefaults(event) {
    event.involvedObject ??= {};
    event.source ??= {};
    event.reportingComponent ??= '';
    event.reportingInstance ??= '';
  },
  validate: validateEvent,
  allowCreateOnUpdate: true,
  generationFields: 'none',
};

function validateEvent(event: Event): FieldError[] {
  const namespace = event.metadata.namespace ?? '';
  const about = event.involvedObject.namespace ?? '';
  const path = field('involvedObject', 'namespace');
  const mismatch = [invalid(path, about, 'does not match event.namespace')];
  if (event.eventTime === undefined) {
    const isFine = about === '' ? namespace === 'default' || namespace === '' : about === namespace;
    return isFine ? [] : mismatch;
  }
  const isFine = about !== '' || namespace === 'default' || namespace === 'kube-system';
  return [...(isFine ? [] : mismatch), ...validateNewEvent(event)];
}

/** Events with an eventTime say who did what. */
function validateNewEvent(event: Event): FieldError[] {
  const { reportingComponent = '', reportingInstance = '', action = '', reason = '' } = event;
  const errors: FieldError[] =
    reportingComponent === ''
      ? [required(field('reportingComponent'), '')]
      : check(field('reportingComponent'), reportingComponent, isQualifiedName(reportingComponent));
  for (const [name, text] of Object.entries({ reportingInstance, action, reason })) {
    if (text === '') errors.push(required(field(name), ''));
    else if (text.length > 128)
      errors.push(invalid(field(name), '', 'can have at most 128 characters'));
  }
  if ((event.message ?? '').length > 1024)
    errors.push(invalid(field('message'), '', 'can have at most 1024 characters'));
  return errors;
}

export const leaseStrategy: Strategy<Lease> = {
  validateName: dns1123SubdomainName,
  applyDefaults(lease) {
    lease.spec ??= {};
  },
  validate({ spec }) {
    const path = field('spec');
    const seconds = spec.leaseDurationSeconds;
    const errors: FieldError[] = [];
    if (seconds !== undefined && seconds <= 0)
      errors.push(invalid(path.child('leaseDurationSeconds'), seconds, 'must be greater than 0'));
    errors.push(...checkNonNegative(path.child('leaseTransitions'), spec.leaseTransitions));
    return errors;
  },
  allowCreateOnUpdate: true,
  requireResourceVersion: true,
  generationFields: 'none',
};

export const endpointSliceStrategy: Strategy<EndpointSlice> = {
  validateName: dns1123SubdomainName,
  applyDefaults(slice) {
    slice.endpoints ??= [];
    slice.ports ??= [];
    for (const port of slice.ports) {
      port.name ??= '';
      port.protocol ??= 'TCP';
    }
  },
  validate: validateEndpointSlice,
  validateUpdate: (next, old) =>
    next.addressType === old.addressType
      ? []
      : [invalid(field('addressType'), next.addressType, immutableMessage)],
};

const addressTypes = ['FQDN', 'IPv4', 'IPv6'];

function validateEndpointSlice(slice: EndpointSlice): FieldError[] {
  const { addressType = '', endpoints = [], ports = [] } = asGiven(slice);
  const path = field('endpoints');
  const errors: FieldError[] = [];
  if (addressType === '') errors.push(required(field('addressType'), ''));
  else if (!addressTypes.includes(addressType))
    errors.push(notSupported(field('addressType'), addressType, addressTypes));
  if (endpoints.length > 1000) errors.push(tooMany(path, endpoints.length, 1000));
  else
    for (const [index, endpoint] of endpoints.entries())
      errors.push(...validateEndpoint(endpoint, addressType, path.index(index)));
  return [...errors, ...validateEndpointPorts(ports)];
}

function validateEndpoint(endpoint: Endpoint, addressType: string, path: FieldPath): FieldError[] {
  const { addresses = [], nodeName, hostname } = asGiven(endpoint);
  const at = path.child('addresses');
  if (addresses.length === 0) return [required(at, 'must contain at least 1 address')];
  if (addresses.length > 100) return [tooMany(at, addresses.length, 100)];
  const errors = addresses.flatMap((address, index) =>
    check(at.index(index), address, addressMessages(address, addressType)),
  );
  if (nodeName !== undefined)
    errors.push(...check(path.child('nodeName'), nodeName, isDns1123Subdomain(nodeName)));
  if (hostname !== undefined)
    errors.push(...check(path.child('hostname'), hostname, isDns1123Label(hostname)));
  return errors;
}

function addressMessages(address: string, addressType: string): string[] {
  switch (addressType) {
    case 'IPv4':
      return isIPv4(address) ? isEndpointIP(address) : ['must be a valid IPv4 address'];
    case 'IPv6':
      return isIPv6(address) ? isEndpointIP(address) : ['must be a valid IPv6 address'];
    case 'FQDN':
      return isDns1123Subdomain(address);
    default:
      return [];
  }
}

const portProtocols = ['SCTP', 'TCP', 'UDP'];

function validateEndpointPorts(ports: readonly EndpointPort[]): FieldError[] {
  const names = new Set<string>();
  return ports.flatMap(({ name = '', protocol, appProtocol }, index) => {
    const at = field('ports').index(index);
    const errors = name === '' ? [] : check(at.child('name'), name, isDns1123Label(name));
    if (names.has(name)) errors.push(duplicate(at.child('name'), name));
    names.add(name);
    if (protocol === undefined) errors.push(required(at.child('protocol'), ''));
    else if (!portProtocols.includes(protocol))
      errors.push(notSupported(at.child('protocol'), protocol, portProtocols));
    if (appProtocol !== undefined)
      errors.push(...check(at.child('appProtocol'), appProtocol, isQualifiedName(appProtocol)));
    return errors;
  });
}
