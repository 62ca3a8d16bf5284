// Gives Services their ClusterIP and node ports, unique in the cluster. Pure: it reads the other
// Services and writes into the new one; the registry runs it alone until the write is committed.
// Differs: IPv4 only (the cluster has one service range), so every Service is single-stack.
// Source: kubernetes pkg/registry/core/service/storage/alloc.go, ipallocator, portallocator.
import type { Service, ServicePort } from '#kube/api/core.ts';
import type { Random } from '#kube/base/random.ts';
import { field, invalid, type FieldError } from '#kube/machinery/field.ts';
import { internalError } from '#kube/machinery/status.ts';
import type { AllocationContext } from './resource.ts';

/** An IPv4 range. Offset 0 is the network's own address, the last one its broadcast address. */
export interface Cidr {
  readonly text: string;
  readonly firstAddress: number;
  readonly size: number;
}

/** Throws on anything but an IPv4 range: the range comes from our own configuration. */
export function parseCidr(text: string): Cidr {
  const [address = '', bits = ''] = text.split('/');
  const prefixLength = Number(bits);
  const value = parseIPv4(address);
  if (value === undefined || !/^\d+$/.test(bits) || prefixLength > 32)
    throw new RangeError(`not an IPv4 range: ${text}`);
  const size = 2 ** (32 - prefixLength);
  return { text, firstAddress: value - (value % size), size };
}

export function serviceAddress(range: Cidr, offset: number): string {
  const value = range.firstAddress + offset;
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}

function parseIPv4(text: string): number | undefined {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) return undefined;
  const parts = text.split('.').map(Number);
  return parts.some((part) => part > 255)
    ? undefined
    : parts.reduce((value, part) => value * 256 + part, 0);
}

/** Strategy.allocate of Services. Mutates `next`; throws a 500 StatusError when a range is full. */
export function allocateService(
  next: Service,
  old: Service | undefined,
  context: AllocationContext<Service>,
): FieldError[] {
  const others = context.existing.filter(
    (service) =>
      service.metadata.namespace !== next.metadata.namespace ||
      service.metadata.name !== next.metadata.name,
  );
  const errors = setFamilies(next, old);
  if (errors.length > 0) return errors;
  errors.push(...allocateClusterIP(next, old, { ...context, existing: others }));
  if (errors.length > 0) return errors;
  return allocateNodePorts(next, old, { ...context, existing: others });
}

function setFamilies(next: Service, old: Service | undefined): FieldError[] {
  const { spec } = next;
  if (spec.type === 'ExternalName') return [];
  const isSelectorless = Object.keys(spec.selector ?? {}).length === 0;
  if (spec.clusterIP === 'None' && isSelectorless) {
    spec.ipFamilyPolicy ??= old?.spec.ipFamilyPolicy ?? 'RequireDualStack';
    const both = spec.ipFamilyPolicy === 'SingleStack' ? ['IPv4'] : ['IPv4', 'IPv6'];
    if ((spec.ipFamilies ?? []).length === 0) spec.ipFamilies = both;
    return [];
  }
  spec.ipFamilyPolicy ??= old?.spec.ipFamilyPolicy ?? 'SingleStack';
  const errors: FieldError[] = [];
  if (spec.ipFamilyPolicy === 'RequireDualStack')
    errors.push(
      invalid(
        field('spec', 'ipFamilyPolicy'),
        spec.ipFamilyPolicy,
        'this cluster is not configured for dual-stack services',
      ),
    );
  for (const [index, family] of (spec.ipFamilies ?? []).entries())
    if (family !== 'IPv4')
      errors.push(
        invalid(field('spec', 'ipFamilies').index(index), family, 'not configured on this cluster'),
      );
  if ((spec.ipFamilies ?? []).length === 0) spec.ipFamilies = ['IPv4'];
  return errors;
}

function allocateClusterIP(
  next: Service,
  old: Service | undefined,
  context: AllocationContext<Service>,
): FieldError[] {
  const { spec } = next;
  if (spec.type === 'ExternalName' || spec.clusterIP === 'None') return [];
  const [wanted = ''] = spec.clusterIPs ?? [];
  const isKept = old !== undefined && wanted !== '' && old.spec.clusterIPs?.[0] === wanted;
  if (isKept) return [];
  const range = parseCidr(context.config.serviceCidr);
  const used = new Set(context.existing.flatMap((service) => service.spec.clusterIPs ?? []));
  if (wanted !== '') {
    const problem = addressProblem(wanted, range, used);
    if (problem === undefined) return [];
    const detail = `failed to allocate IP ${wanted}: ${problem}`;
    return [invalid(field('spec', 'clusterIPs'), spec.clusterIPs, detail)];
  }
  const clusterIP = freeAddress(range, used, context.random);
  spec.clusterIP = clusterIP;
  spec.clusterIPs = [clusterIP];
  return [];
}

function addressProblem(ip: string, range: Cidr, used: ReadonlySet<string>): string | undefined {
  const offset = (parseIPv4(ip) ?? -1) - range.firstAddress;
  if (offset < 1 || offset > range.size - 2)
    return `the provided IP (${ip}) is not in the valid range. The range of valid IPs is ${range.text}`;
  return used.has(ip) ? 'provided IP is already allocated' : undefined;
}

/**
 * Any free address, from the upper part of the range first: people pick fixed addresses low.
 * Offset 1 stays for the `kubernetes` Service.
 */
function freeAddress(range: Cidr, used: ReadonlySet<string>, random: Random): string {
  const lowerBand = Math.min(Math.max(16, Math.floor(range.size / 16)), 256);
  const bandEnd = range.size - 2 > lowerBand ? lowerBand : 1;
  const offset =
    freeNumber([bandEnd + 1, range.size - 2], random, (n) => used.has(serviceAddress(range, n))) ??
    freeNumber([2, bandEnd], random, (n) => used.has(serviceAddress(range, n)));
  if (offset === undefined)
    throw internalError(new Error('failed to allocate a serviceIP: range is full'));
  return serviceAddress(range, offset);
}

/** A free number of an inclusive range, searched from a random start; undefined when none is. */
function freeNumber(
  [first, last]: readonly [number, number],
  random: Random,
  isUsed: (number: number) => boolean,
): number | undefined {
  const size = last - first + 1;
  const start = Math.floor(random.next() * size);
  for (let step = 0; step < size; step++) {
    const number = first + ((start + step) % size);
    if (!isUsed(number)) return number;
  }
  return undefined;
}

function allocateNodePorts(
  next: Service,
  old: Service | undefined,
  context: AllocationContext<Service>,
): FieldError[] {
  const { spec } = next;
  const ports = spec.ports ?? [];
  if (spec.type !== 'NodePort' && spec.type !== 'LoadBalancer') return [];
  const used = new Set(context.existing.flatMap((service) => nodePortsOf(service)));
  const mine = new Set(old === undefined ? [] : nodePortsOf(old));
  const errors: FieldError[] = [];
  for (const [index, port] of ports.entries()) {
    const wanted = port.nodePort ?? 0;
    if (wanted === 0 || mine.has(wanted)) continue;
    const problem = nodePortProblem(wanted, used, context.config.nodePortRange);
    if (problem === undefined) mine.add(wanted);
    else
      errors.push(invalid(field('spec', 'ports').index(index).child('nodePort'), wanted, problem));
  }
  if (errors.length > 0) return errors.slice(0, 1);
  for (const number of mine) used.add(number);
  if (spec.type === 'NodePort' || spec.allocateLoadBalancerNodePorts !== false)
    for (const port of ports)
      if ((port.nodePort ?? 0) === 0)
        port.nodePort = sharedNodePort(port, ports) ?? freeNodePort(used, context);
  if (needsHealthCheck(next) && (spec.healthCheckNodePort ?? 0) === 0)
    spec.healthCheckNodePort = freeNodePort(used, context);
  return [];
}

function nodePortProblem(
  port: number,
  used: ReadonlySet<number>,
  [first, last]: readonly [number, number],
): string | undefined {
  if (port < first || port > last)
    return `provided port is not in the valid range. The range of valid ports is ${first}-${last}`;
  return used.has(port) ? 'provided port is already allocated' : undefined;
}

/** TCP and UDP of one service port share a node port. */
function sharedNodePort(port: ServicePort, ports: readonly ServicePort[]): number | undefined {
  const sibling = ports.find(
    (other) =>
      other.port === port.port && other.protocol !== port.protocol && (other.nodePort ?? 0) !== 0,
  );
  const isTaken = ports.some(
    (other) => other.nodePort === sibling?.nodePort && other.protocol === port.protocol,
  );
  return isTaken ? undefined : sibling?.nodePort;
}

function freeNodePort(used: Set<number>, context: AllocationContext<Service>): number {
  const { nodePortRange } = context.config;
  const port = freeNumber(nodePortRange, context.random, (number) => used.has(number));
  if (port === undefined)
    throw internalError(new Error('failed to allocate a nodePort: range is full'));
  used.add(port);
  return port;
}

function nodePortsOf(service: Service): number[] {
  const ports = (service.spec.ports ?? []).map((port) => port.nodePort ?? 0);
  return [...ports, service.spec.healthCheckNodePort ?? 0].filter((port) => port !== 0);
}

/** A load balancer that keeps the client's address asks nodes which of them have endpoints. */
export function needsHealthCheck(service: Service): boolean {
  const { type, externalTrafficPolicy } = service.spec;
  return type === 'LoadBalancer' && externalTrafficPolicy === 'Local';
}
