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
  byteLength,
  dns1123SubdomainName,
  isDns1123Label,
  isDns1123Subdomain,
  isLabelValue,
  isQualifiedName,
} from '#kube/machinery/names.ts';
import type { Strategy } from '../../resource.ts';
import {
  asGiven,
  check,
  checkNonNegative,
  immutableMessage,
  isEndpointIP,
  isIP,
  isIPv4,
  isIPv6,
} from '../text-rules.ts';

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

/** Events with an eventTime say who did what. Messages name fields as Kubernetes has them inside. */
function validateNewEvent(event: Event): FieldError[] {
  const { reportingComponent = '', reportingInstance = '', action = '', reason = '' } = event;
  const path = field('reportingController');
  const errors = reportingComponent === '' ? [required(path, '')] : [];
  errors.push(...check(path, reportingComponent, isQualifiedName(reportingComponent)));
  for (const [name, text] of Object.entries({ reportingInstance, action, reason })) {
    if (text === '') errors.push(required(field(name), ''));
    errors.push(...checkLength(field(name), text, 128));
  }
  return [...errors, ...checkLength(field('message'), event.message ?? '', 1024)];
}

function checkLength(path: FieldPath, text: string, maxBytes: number): FieldError[] {
  if (byteLength(text) <= maxBytes) return [];
  return [invalid(path, '', `can have at most ${maxBytes} characters`)];
}

export const leaseStrategy: Strategy<Lease> = {
  validateName: dns1123SubdomainName,
  applyDefaults(lease) {
    lease.spec ??= {};
    // Kubernetes drops them unless its election of leaders by Leases is switched on.
    delete lease.spec.strategy;
    delete lease.spec.preferredHolder;
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
  const { addresses = [], nodeName, hostname, hints = {} } = asGiven(endpoint);
  const at = path.child('addresses');
  const errors: FieldError[] = [];
  if (addresses.length === 0) errors.push(required(at, 'must contain at least 1 address'));
  if (addresses.length > 100) errors.push(tooMany(at, addresses.length, 100));
  for (const [index, address] of addresses.entries())
    errors.push(...validateAddress(at.index(index), address, addressType));
  if (nodeName !== undefined)
    errors.push(...check(path.child('nodeName'), nodeName, isDns1123Subdomain(nodeName)));
  if (hostname !== undefined)
    errors.push(...check(path.child('hostname'), hostname, isDns1123Label(hostname)));
  const { forZones = [], forNodes = [] } = hints;
  const hintPath = path.child('hints');
  return [
    ...errors,
    ...validateHints(hintPath.child('forZones'), forZones, isLabelValue),
    ...validateHints(hintPath.child('forNodes'), forNodes, isDns1123Subdomain),
  ];
}

function validateAddress(path: FieldPath, address: string, addressType: string): FieldError[] {
  switch (addressType) {
    case 'IPv4':
    case 'IPv6': {
      const wrong = isIP(address);
      if (wrong.length > 0) return check(path, address, wrong);
      const isFamily = addressType === 'IPv4' ? isIPv4(address) : isIPv6(address);
      if (!isFamily) wrong.push(`must be an ${addressType} address`);
      return check(path, address, [...wrong, ...isEndpointIP(address)]);
    }
    case 'FQDN':
      return validateDomainName(path, address);
    default:
      return [];
  }
}

/** At least two labels; a dot at the end is fine. */
function validateDomainName(path: FieldPath, given: string): FieldError[] {
  if (given === '') return [required(path, '')];
  const name = given.replace(/\.$/, '');
  const wrong = isDns1123Subdomain(name);
  if (wrong.length > 0) return [invalid(path, name, wrong.join(','))];
  const labels = name.split('.');
  if (labels.length < 2)
    return [invalid(path, name, 'should be a domain with at least two segments separated by dots')];
  const long = labels.find((label) => isDns1123Label(label).length > 0);
  return long === undefined ? [] : [invalid(path, long, isDns1123Label(long).join(','))];
}

function validateHints(
  path: FieldPath,
  hints: readonly { readonly name?: string }[],
  rule: (name: string) => string[],
): FieldError[] {
  if (hints.length > 8) return [tooMany(path, hints.length, 8)];
  const names = hints.map(({ name = '' }) => name);
  return names.flatMap((name, index) => {
    const at = path.index(index).child('name');
    const isAgain = names.indexOf(name) < index;
    return [...(isAgain ? [duplicate(at, name)] : []), ...check(at, name, rule(name))];
  });
}

const portProtocols = ['SCTP', 'TCP', 'UDP'];

function validateEndpointPorts(ports: readonly EndpointPort[]): FieldError[] {
  if (ports.length > 20_000) return [tooMany(field('ports'), ports.length, 20_000)];
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
