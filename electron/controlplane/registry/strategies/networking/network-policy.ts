// NetworkPolicies, and the objects that tell of the ranges and addresses services have.
// Source: kubernetes pkg/apis/networking/{v1/defaults.go,validation/validation.go}.
import type {
  IPAddress,
  IPBlock,
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  NetworkPolicySpec,
  ServiceCIDR,
} from '#kube/api/networking.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  field,
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import {
  dns1123SubdomainName,
  isDns1123Subdomain,
  isPathSegmentName,
} from '#kube/machinery/names.ts';
import { validateImmutable } from '#kube/machinery/object-meta.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { validateLabelSelector } from '../selector-rules.ts';
import {
  asGiven,
  check,
  checkRequired,
  immutableMessage,
  isCidr,
  isIP,
  isIPv6,
  isPortName,
  isPortNumber,
} from '../text-rules.ts';
import { isStrictSubset } from './cidr.ts';

export const networkPolicyStrategy: Strategy<NetworkPolicy> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec }) {
    const { ingress = [], egress = [] } = spec;
    for (const { ports = [] } of [...ingress, ...egress])
      for (const port of ports) port.protocol ??= 'TCP';
    if ((spec.policyTypes ?? []).length === 0)
      spec.policyTypes = egress.length === 0 ? ['Ingress'] : ['Ingress', 'Egress'];
  },
  validate: ({ spec }) => validatePolicySpec(spec, field('spec')),
};

const policyTypes = ['Ingress', 'Egress'];

function validatePolicySpec(spec: NetworkPolicySpec, path: FieldPath): FieldError[] {
  const { podSelector = {}, ingress = [], egress = [], policyTypes: types = [] } = spec;
  const rules = [
    ...ingress.map(({ ports, from }, index) => ({
      at: path.child('ingress').index(index),
      side: 'from',
      ports,
      peers: from,
    })),
    ...egress.map(({ ports, to }, index) => ({
      at: path.child('egress').index(index),
      side: 'to',
      ports,
      peers: to,
    })),
  ];
  const errors = validateLabelSelector(podSelector, path.child('podSelector'));
  for (const { at, side, ports = [], peers = [] } of rules) {
    for (const [index, port] of ports.entries())
      errors.push(...validatePort(port, at.child('ports').index(index)));
    for (const [index, peer] of peers.entries())
      errors.push(...validatePeer(peer, at.child(side).index(index)));
  }
  const typesPath = path.child('policyTypes');
  if (types.length > policyTypes.length)
    return [...errors, invalid(typesPath, types, 'may not specify more than two policyTypes')];
  const wrong = [...types.entries()].filter(([, type]) => !policyTypes.includes(type));
  return [
    ...errors,
    ...wrong.map(([index, type]) => notSupported(typesPath.index(index), type, policyTypes)),
  ];
}

const protocols = ['TCP', 'UDP', 'SCTP'];

function validatePort(entry: NetworkPolicyPort, path: FieldPath): FieldError[] {
  const { protocol, port, endPort } = entry;
  const endPath = path.child('endPort');
  const errors: FieldError[] = [];
  if (protocol !== undefined && !protocols.includes(protocol))
    errors.push(notSupported(path.child('protocol'), protocol, protocols));
  if (typeof port === 'number') {
    errors.push(...check(path.child('port'), port, isPortNumber(port)));
    if (endPort === undefined) return errors;
    if (endPort < port)
      errors.push(invalid(endPath, endPort, 'must be greater than or equal to `port`'));
    return [...errors, ...check(endPath, endPort, isPortNumber(endPort))];
  }
  if (endPort !== undefined) {
    const why = port === undefined ? 'not specified' : 'non-numeric';
    errors.push(invalid(endPath, endPort, `may not be specified when \`port\` is ${why}`));
  }
  if (port !== undefined) errors.push(...check(path.child('port'), port, isPortName(port)));
  return errors;
}

function validatePeer(peer: NetworkPolicyPeer, path: FieldPath): FieldError[] {
  const { podSelector, namespaceSelector, ipBlock } = peer;
  const given = [podSelector, namespaceSelector, ipBlock].filter((part) => part !== undefined);
  if (given.length === 0) return [required(path, 'must specify a peer')];
  return [
    ...(podSelector === undefined
      ? []
      : validateLabelSelector(podSelector, path.child('podSelector'))),
    ...(namespaceSelector === undefined
      ? []
      : validateLabelSelector(namespaceSelector, path.child('namespaceSelector'))),
    ...(ipBlock === undefined ? [] : validateBlock(ipBlock, path.child('ipBlock'))),
    ...(given.length > 1 && ipBlock !== undefined
      ? [forbidden(path, 'may not specify both ipBlock and another peer')]
      : []),
  ];
}

function validateBlock(block: IPBlock, path: FieldPath): FieldError[] {
  const { cidr = '', except = [] } = asGiven(block);
  if (cidr === '') return [required(path.child('cidr'), '')];
  const errors = check(path.child('cidr'), cidr, isCidr(cidr));
  if (errors.length > 0) return errors;
  return except.flatMap((part, index) => {
    const at = path.child('except').index(index);
    const wrong = check(at, part, isCidr(part));
    if (wrong.length > 0 || isStrictSubset(part, cidr)) return wrong;
    return [invalid(at, part, 'must be a strict subset of `cidr`')];
  });
}

export const ipAddressStrategy: Strategy<IPAddress> = {
  validateName: (name) => isIP(name),
  validate({ spec }) {
    const path = field('spec', 'parentRef');
    const { parentRef } = asGiven(spec);
    if (parentRef === undefined) return [required(path, '')];
    const { group = '', resource, name, namespace = '' } = asGiven(parentRef);
    return [
      ...(group === '' ? [] : check(path.child('group'), group, isDns1123Subdomain(group))),
      ...checkRequired(path.child('resource'), resource, isPathSegmentName),
      ...checkRequired(path.child('name'), name, isPathSegmentName),
      ...(namespace === ''
        ? []
        : check(path.child('namespace'), namespace, isPathSegmentName(namespace))),
    ];
  },
  validateUpdate: (next, old) =>
    validateImmutable(next.spec.parentRef, old.spec.parentRef, field('spec', 'parentRef')),
  generationFields: 'none',
};

export const serviceCidrStrategy: Strategy<ServiceCIDR> = {
  validateName: dns1123SubdomainName,
  prepareForCreate(range) {
    range.status = {};
  },
  validate: ({ spec }) => validateRanges(spec.cidrs ?? [], field('spec', 'cidrs')),
  validateUpdate({ spec: next }, { spec: old }) {
    const path = field('spec', 'cidrs');
    const [before = [], after = []] = [old.cidrs, next.cidrs];
    if (deepEqual(before, after)) return [];
    // A second family may come along.
    const isExtended = before.length === 1 && after.length === 2;
    if (before.length !== after.length && !isExtended)
      return [invalid(path, after, immutableMessage)];
    return before.flatMap((cidr, index) =>
      cidr === after[index] ? [] : [invalid(path.index(index), after[index], immutableMessage)],
    );
  },
};

export const serviceCidrStatus: StatusSubresource<ServiceCIDR> = { type: 'status' };

function validateRanges(cidrs: readonly string[], path: FieldPath): FieldError[] {
  if (cidrs.length === 0) return [required(path, 'at least one CIDR required')];
  if (cidrs.length > 2) return [invalid(path, { cidrs }, 'may only hold up to 2 values')];
  const errors = cidrs.flatMap((cidr, index) => check(path.index(index), cidr, isCidr(cidr)));
  const families = new Set(cidrs.map((cidr) => isIPv6(cidr.split('/')[0] ?? '')));
  if (errors.length === 0 && families.size < cidrs.length)
    errors.push(
      invalid(
        path,
        cidrs,
        'may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64',
      ),
    );
  return errors;
}
