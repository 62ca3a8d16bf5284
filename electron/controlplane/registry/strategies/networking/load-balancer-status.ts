// Where a load balancer is reached, as the status of a Service or an Ingress tells.
// Source: kubernetes pkg/apis/core/validation/validation.go ValidateLoadBalancerStatus,
// pkg/apis/networking/validation/validation.go ValidateIngressLoadBalancerStatus.
import type { LoadBalancerIngress, Service } from '#kube/api/core.ts';
import {
  field,
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { isDns1123Subdomain } from '#kube/machinery/names.ts';
import { check, isIP } from '../text-rules.ts';

export const noAddress = 'must be a DNS name, not an IP address';
const path = field('status', 'loadBalancer', 'ingress');

export function validateAddresses(
  ingress: readonly Pick<LoadBalancerIngress, 'ip' | 'hostname'>[] = [],
): FieldError[] {
  return ingress.flatMap((point, index) => validateAddress(point, path.index(index)));
}

function validateAddress(
  { ip = '', hostname = '' }: Pick<LoadBalancerIngress, 'ip' | 'hostname'>,
  at: FieldPath,
): FieldError[] {
  const isAddress = hostname !== '' && isIP(hostname).length === 0;
  return [
    ...(ip === '' ? [] : check(at.child('ip'), ip, isIP(ip))),
    ...(hostname === '' ? [] : check(at.child('hostname'), hostname, isDns1123Subdomain(hostname))),
    ...(isAddress ? [invalid(at.child('hostname'), hostname, noAddress)] : []),
  ];
}

export function validateServiceStatus({ spec, status }: Service): FieldError[] {
  const ingress = status?.loadBalancer?.ingress ?? [];
  if (spec.type !== 'LoadBalancer' && ingress.length > 0)
    return [forbidden(path, 'may only be used when `spec.type` is "LoadBalancer"')];
  return ingress.flatMap((point, index) => [
    ...validateAddress(point, path.index(index)),
    ...validateMode(point, path.index(index).child('ipMode')),
  ]);
}

const modes = ['Proxy', 'VIP'];

function validateMode({ ip = '', ipMode }: LoadBalancerIngress, at: FieldPath): FieldError[] {
  if (ipMode === undefined)
    return ip === '' ? [] : [required(at, 'must be specified when `ip` is set')];
  if (ip === '') return [forbidden(at, 'may not be specified when `ip` is not set')];
  return modes.includes(ipMode) ? [] : [notSupported(at, ipMode, modes)];
}
