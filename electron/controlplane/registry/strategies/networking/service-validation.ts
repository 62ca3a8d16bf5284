// What makes a Service legal, in the order Kubernetes checks it.
// Left out: load balancer source ranges and classes, topology annotations.
// Source: kubernetes pkg/apis/core/validation/validation.go ValidateService.
import type { Service, ServicePort, ServiceSpec } from '#kube/api/core.ts';
import {
  duplicate,
  field,
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { isDns1123Label, isDns1123Subdomain, isQualifiedName } from '#kube/machinery/names.ts';
import { validateLabels } from '#kube/machinery/object-meta.ts';
import { needsHealthCheck } from '../../allocator.ts';
import {
  asGiven,
  check,
  checkPort,
  isEndpointIP,
  isIP,
  isIPv6,
  isPortNumber,
} from '../text-rules.ts';

const specPath = field('spec');
const serviceTypes = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'];
const portProtocols = ['SCTP', 'TCP', 'UDP'];

/** Reached from outside the cluster: the policy for such traffic applies. */
export function isExternallyAccessible({ type, externalIPs = [] }: ServiceSpec): boolean {
  if (type === 'LoadBalancer' || type === 'NodePort') return true;
  return type === 'ClusterIP' && externalIPs.length > 0;
}

function isHeadless({ clusterIPs }: ServiceSpec): boolean {
  return clusterIPs?.length === 1 && clusterIPs[0] === 'None';
}

export function validateService(service: Service): FieldError[] {
  const { spec } = service;
  const { ports = [], type = '', externalIPs = [] } = spec;
  const names = new Set<string>();
  return [
    ...(ports.length === 0 && !isHeadless(spec) && type !== 'ExternalName'
      ? [required(specPath.child('ports'), '')]
      : []),
    ...validateForType(spec),
    ...ports.flatMap((port, index) =>
      validatePort(port, ports.length > 1, names, specPath.child('ports').index(index)),
    ),
    ...validateLabels(spec.selector, specPath.child('selector')),
    ...validateAffinity(spec),
    ...validateClusterIPs(spec),
    ...externalIPs.flatMap((ip, index) =>
      check(specPath.child('externalIPs').index(index), ip, isEndpointIP(ip)),
    ),
    ...oneOf(specPath.child('type'), type, serviceTypes),
    ...validateUniquePorts(spec),
    ...validateTrafficPolicies(service),
  ];
}

function oneOf(path: FieldPath, value: string, supported: readonly string[]): FieldError[] {
  if (value === '') return [required(path, '')];
  return supported.includes(value) ? [] : [notSupported(path, value, supported)];
}

function validateForType(spec: ServiceSpec): FieldError[] {
  switch (spec.type) {
    case 'LoadBalancer':
    case 'NodePort':
      return isHeadless(spec)
        ? [
            invalid(
              specPath.child('clusterIPs').index(0),
              'None',
              `may not be set to 'None' for ${spec.type} services`,
            ),
          ]
        : [];
    case 'ExternalName':
      return validateExternalName(spec);
    default:
      return [];
  }
}

function validateExternalName(spec: ServiceSpec): FieldError[] {
  const why = 'may not be set for ExternalName services';
  const errors: FieldError[] = [];
  if ((spec.clusterIPs ?? []).length > 0) errors.push(forbidden(specPath.child('clusterIPs'), why));
  if ((spec.ipFamilies ?? []).length > 0) errors.push(forbidden(specPath.child('ipFamilies'), why));
  if (spec.ipFamilyPolicy !== undefined)
    errors.push(forbidden(specPath.child('ipFamilyPolicy'), why));
  const name = (spec.externalName ?? '').replace(/\.$/, '');
  const path = specPath.child('externalName');
  if (name === '') errors.push(required(path, ''));
  else errors.push(...check(path, name, isDns1123Subdomain(name)));
  return errors;
}

function validatePort(
  port: ServicePort,
  needsName: boolean,
  names: Set<string>,
  path: FieldPath,
): FieldError[] {
  const { port: number = 0 } = asGiven(port);
  const { name = '', protocol = '', appProtocol } = port;
  const errors: FieldError[] = [];
  if (name !== '') {
    errors.push(...check(path.child('name'), name, isDns1123Label(name)));
    if (names.has(name)) errors.push(duplicate(path.child('name'), name));
    names.add(name);
  } else if (needsName) errors.push(required(path.child('name'), ''));
  errors.push(
    ...check(path.child('port'), number, isPortNumber(number)),
    ...oneOf(path.child('protocol'), protocol, portProtocols),
    ...checkPort(path.child('targetPort'), port.targetPort),
  );
  if (appProtocol !== undefined)
    errors.push(...check(path.child('appProtocol'), appProtocol, isQualifiedName(appProtocol)));
  return errors;
}

function validateAffinity(spec: ServiceSpec): FieldError[] {
  const { sessionAffinity = '', sessionAffinityConfig } = spec;
  const path = specPath.child('sessionAffinityConfig');
  const errors = oneOf(specPath.child('sessionAffinity'), sessionAffinity, ['ClientIP', 'None']);
  if (sessionAffinity === 'None' && sessionAffinityConfig !== undefined)
    errors.push(forbidden(path, 'must not be set when session affinity is None'));
  if (sessionAffinity !== 'ClientIP') return errors;
  const seconds = sessionAffinityConfig?.clientIP?.timeoutSeconds;
  if (seconds === undefined) errors.push(required(path, 'when session affinity type is ClientIP'));
  else if (seconds <= 0 || seconds > 86_400)
    errors.push(
      invalid(
        path.child('clientIP', 'timeoutSeconds'),
        seconds,
        'must be greater than 0 and less than 86400',
      ),
    );
  return errors;
}

const familyPolicies = ['PreferDualStack', 'RequireDualStack', 'SingleStack'];

function validateClusterIPs(spec: ServiceSpec): FieldError[] {
  if (spec.type === 'ExternalName') return [];
  const { clusterIP = '', clusterIPs = [], ipFamilies = [], ipFamilyPolicy } = spec;
  const path = specPath.child('clusterIPs');
  const errors: FieldError[] = [];
  if (clusterIP === '' && clusterIPs.length > 0)
    errors.push(invalid(path, clusterIPs, 'must be empty when `clusterIP` is not specified'));
  else if (clusterIP !== '' && clusterIPs.length === 0) errors.push(required(path, ''));
  else if (clusterIP !== '' && clusterIPs[0] !== clusterIP)
    errors.push(invalid(path, clusterIPs, 'first value must match `clusterIP`'));
  const seen = new Set<string>();
  for (const [index, family] of ipFamilies.entries()) {
    const at = specPath.child('ipFamilies').index(index);
    if (family !== 'IPv4' && family !== 'IPv6')
      errors.push(notSupported(at, family, ['IPv4', 'IPv6']));
    if (seen.has(family)) errors.push(duplicate(at, family));
    seen.add(family);
  }
  if (ipFamilyPolicy !== undefined && !familyPolicies.includes(ipFamilyPolicy))
    errors.push(notSupported(specPath.child('ipFamilyPolicy'), ipFamilyPolicy, familyPolicies));
  const wrong = validateAddresses(clusterIPs, path);
  if (clusterIPs.length > 2) wrong.push(invalid(path, clusterIPs, 'may only hold up to 2 values'));
  errors.push(...wrong);
  if (wrong.length > 0 || isHeadless(spec)) return errors;
  return [...errors, ...validateFamilies(clusterIPs, ipFamilies, path)];
}

function validateAddresses(clusterIPs: readonly string[], path: FieldPath): FieldError[] {
  return clusterIPs.flatMap((ip, index) => {
    if (index === 0 && ip === 'None')
      return clusterIPs.length > 1
        ? [invalid(path, clusterIPs, "'None' must be the first and only value")]
        : [];
    return check(path.index(index), ip, isIP(ip));
  });
}

function validateFamilies(
  clusterIPs: readonly string[],
  families: readonly string[],
  path: FieldPath,
): FieldError[] {
  const errors: FieldError[] = [];
  const kinds = clusterIPs.map((ip) => (isIPv6(ip) ? 'IPv6' : 'IPv4'));
  if (kinds.length > 1 && new Set(kinds).size < kinds.length)
    errors.push(invalid(path, clusterIPs, 'may specify no more than one IP for each IP family'));
  for (const [index, kind] of kinds.entries()) {
    const expected = families[index];
    if (expected === undefined || expected === kind) continue;
    const detail = `expected an ${expected} value as indicated by \`ipFamilies[${index}]\``;
    errors.push(invalid(path.index(index), clusterIPs[index], detail));
  }
  return errors;
}

function validateUniquePorts({ type, ports = [] }: ServiceSpec): FieldError[] {
  const path = specPath.child('ports');
  const errors: FieldError[] = [];
  const nodePorts = new Set<string>();
  const portNumbers = new Set<string>();
  if (type === 'ClusterIP')
    for (const [index, { nodePort = 0 }] of ports.entries())
      if (nodePort !== 0)
        errors.push(
          forbidden(
            path.index(index).child('nodePort'),
            "may not be used when `type` is 'ClusterIP'",
          ),
        );
  for (const [index, { protocol, nodePort = 0 }] of ports.entries()) {
    const key = `${protocol}/${nodePort}`;
    if (nodePort !== 0 && nodePorts.has(key))
      errors.push(duplicate(path.index(index).child('nodePort'), nodePort));
    nodePorts.add(key);
  }
  for (const [index, { protocol, port }] of ports.entries()) {
    const key = `${protocol}/${port}`;
    if (portNumbers.has(key))
      errors.push(duplicate(path.index(index), goServicePort(protocol, port)));
    portNumbers.add(key);
  }
  return errors;
}

/** The value as Kubernetes shows it: its own struct, with Go's names. */
function goServicePort(protocol: string | undefined, port: number): unknown {
  return {
    Name: '',
    Protocol: protocol,
    AppProtocol: null,
    Port: port,
    TargetPort: 0,
    NodePort: 0,
  };
}

const trafficPolicies = ['Cluster', 'Local'];
const trafficDistributions = ['PreferClose', 'PreferSameNode', 'PreferSameZone'];

function validateTrafficPolicies(service: Service): FieldError[] {
  const { spec } = service;
  const errors: FieldError[] = [];
  const { externalTrafficPolicy = '', internalTrafficPolicy, trafficDistribution } = spec;
  if (spec.allocateLoadBalancerNodePorts !== undefined && spec.type !== 'LoadBalancer')
    errors.push(
      forbidden(
        specPath.child('allocateLoadBalancerNodePorts'),
        "may only be used when `type` is 'LoadBalancer'",
      ),
    );
  const externalPath = specPath.child('externalTrafficPolicy');
  if (isExternallyAccessible(spec))
    errors.push(...oneOf(externalPath, externalTrafficPolicy, trafficPolicies));
  else if (externalTrafficPolicy !== '')
    errors.push(
      invalid(
        externalPath,
        externalTrafficPolicy,
        'may only be set for externally-accessible services',
      ),
    );
  if (!needsHealthCheck(service) && (spec.healthCheckNodePort ?? 0) !== 0)
    errors.push(
      invalid(
        specPath.child('healthCheckNodePort'),
        spec.healthCheckNodePort,
        "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
      ),
    );
  if (internalTrafficPolicy !== undefined && !trafficPolicies.includes(internalTrafficPolicy))
    errors.push(
      notSupported(specPath.child('internalTrafficPolicy'), internalTrafficPolicy, trafficPolicies),
    );
  if (trafficDistribution !== undefined && !trafficDistributions.includes(trafficDistribution))
    errors.push(
      notSupported(
        specPath.child('trafficDistribution'),
        trafficDistribution,
        trafficDistributions,
      ),
    );
  return errors;
}

/** The first ClusterIP stays for life, but for changes from and to ExternalName. */
export function validateServiceUpdate(
  { spec: next }: Service,
  { spec: old }: Service,
): FieldError[] {
  if (next.type === 'ExternalName' || old.type === 'ExternalName') return [];
  if (isHeadless(next) && isHeadless(old)) return [];
  const path = specPath.child('clusterIPs').index(0);
  const [before] = old.clusterIPs ?? [];
  const [after] = next.clusterIPs ?? [];
  if (before === undefined || before === after) return [];
  return after === undefined
    ? [invalid(path, next.clusterIPs ?? [], 'primary clusterIP can not be unset')]
    : [invalid(path, next.clusterIPs, 'may not change once set')];
}
