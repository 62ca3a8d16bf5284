// Services: defaults, what changes with the type, and what an update may leave out because the
// cluster chose it. Addresses and node ports come from ../allocator.ts.
// Source: kubernetes pkg/registry/core/service/{strategy.go,storage/storage.go},
// pkg/apis/core/v1/defaults.go.
import type { Service } from '#kube/api/core.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { dns1035LabelName } from '#kube/machinery/names.ts';
import { allocateService, needsHealthCheck } from '../../allocator.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { validateServiceStatus } from './load-balancer-status.ts';
import {
  isExternallyAccessible,
  validateService,
  validateServiceUpdate,
} from './service-validation.ts';

export const serviceStrategy: Strategy<Service> = {
  validateName: dns1035LabelName,
  applyDefaults,
  prepareForCreate(service) {
    service.status = { loadBalancer: {} };
    const { spec } = service;
    if ((spec.clusterIP ?? '') !== '' && (spec.clusterIPs ?? []).length === 0)
      spec.clusterIPs = [spec.clusterIP ?? ''];
  },
  prepareForUpdate(next, old) {
    keepAllocated(next, old);
    syncClusterIPs(next, old);
    dropForType(next, old);
    const isReached = (next.status?.loadBalancer?.ingress ?? []).length > 0;
    if (next.spec.type !== 'LoadBalancer' && isReached)
      next.status = { ...next.status, loadBalancer: {} };
  },
  validate: validateService,
  validateUpdate: validateServiceUpdate,
  allocate: allocateService,
  allowCreateOnUpdate: true,
  generationFields: 'none',
};

export const serviceStatus: StatusSubresource<Service> = {
  type: 'status',
  validateUpdate: validateServiceStatus,
};

function applyDefaults(service: Service): void {
  const { spec } = service;
  if (service.status !== undefined) service.status.loadBalancer ??= {};
  if (spec.type === 'LoadBalancer')
    for (const point of service.status?.loadBalancer?.ingress ?? [])
      if ((point.ip ?? '') !== '') point.ipMode ??= 'VIP';
  spec.sessionAffinity ||= 'None';
  if (spec.sessionAffinity === 'None') delete spec.sessionAffinityConfig;
  if (spec.sessionAffinity === 'ClientIP')
    if (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds === undefined)
      spec.sessionAffinityConfig = { clientIP: { timeoutSeconds: 10_800 } };
  spec.type ||= 'ClusterIP';
  for (const port of spec.ports ?? []) {
    port.protocol ||= 'TCP';
    port.targetPort ||= port.port;
  }
  if (isExternallyAccessible(spec)) spec.externalTrafficPolicy ||= 'Cluster';
  if (needsClusterIP(spec)) spec.internalTrafficPolicy ??= 'Cluster';
  if (spec.type === 'LoadBalancer') spec.allocateLoadBalancerNodePorts ??= true;
}

function needsClusterIP({ type }: Service['spec']): boolean {
  return type === 'ClusterIP' || type === 'NodePort' || type === 'LoadBalancer';
}

function needsNodePort({ type }: Service['spec']): boolean {
  return type === 'NodePort' || type === 'LoadBalancer';
}

/** A client that sends its manifest again does not know what the cluster filled in. */
function keepAllocated({ spec: next }: Service, { spec: old }: Service): void {
  if (needsClusterIP(next) && needsClusterIP(old)) {
    next.clusterIP ||= old.clusterIP;
    if ((next.clusterIPs ?? []).length === 0 && next.clusterIP === old.clusterIP)
      next.clusterIPs = old.clusterIPs;
    if (next.clusterIP === undefined) delete next.clusterIP;
    if (next.clusterIPs === undefined) delete next.clusterIPs;
  }
  if (!needsNodePort(next) || !needsNodePort(old)) return;
  const used = new Set((next.ports ?? []).map((port) => port.nodePort ?? 0));
  const before = new Map((old.ports ?? []).map((port) => [port.name ?? '', port.nodePort ?? 0]));
  for (const port of next.ports ?? []) {
    const previous = before.get(port.name ?? '') ?? 0;
    if ((port.nodePort ?? 0) !== 0 || previous === 0 || used.has(previous)) continue;
    port.nodePort = previous;
    used.add(previous);
  }
  if (old.healthCheckNodePort !== undefined && next.externalTrafficPolicy === 'Local')
    next.healthCheckNodePort ||= old.healthCheckNodePort;
}

/** Who changed only the one field means both. */
function syncClusterIPs({ spec: next }: Service, { spec: old }: Service): void {
  const isSameList = deepEqual(next.clusterIPs ?? [], old.clusterIPs ?? []);
  const clusterIP = next.clusterIP ?? '';
  if (clusterIP === (old.clusterIP ?? '') || !isSameList) return;
  if (clusterIP === '') delete next.clusterIPs;
  else next.clusterIPs = [clusterIP];
}

/** Fields that meant something for the old type go, unless the client just set them. */
function dropForType(next: Service, old: Service): void {
  const { spec } = next;
  const isUnchanged = (name: keyof Service['spec']) => deepEqual(spec[name], old.spec[name]);
  if (needsClusterIP(old.spec) && !needsClusterIP(spec)) {
    if (isUnchanged('clusterIPs')) {
      delete spec.clusterIP;
      delete spec.clusterIPs;
    }
    if (isUnchanged('ipFamilies')) delete spec.ipFamilies;
    if (isUnchanged('ipFamilyPolicy')) delete spec.ipFamilyPolicy;
  }
  if (needsNodePort(old.spec) && !needsNodePort(spec) && hasSameNodePorts(spec, old.spec))
    for (const port of spec.ports ?? []) delete port.nodePort;
  if (needsHealthCheck(old) && !needsHealthCheck(next) && isUnchanged('healthCheckNodePort'))
    delete spec.healthCheckNodePort;
  if (old.spec.type === 'LoadBalancer' && spec.type !== 'LoadBalancer') {
    if (isUnchanged('allocateLoadBalancerNodePorts')) delete spec.allocateLoadBalancerNodePorts;
    if (isUnchanged('loadBalancerClass')) delete spec.loadBalancerClass;
  }
  const wasAccessible = isExternallyAccessible(old.spec);
  if (wasAccessible && !isExternallyAccessible(spec) && isUnchanged('externalTrafficPolicy'))
    delete spec.externalTrafficPolicy;
}

function hasSameNodePorts(next: Service['spec'], old: Service['spec']): boolean {
  const numbers = (spec: Service['spec']) =>
    (spec.ports ?? []).map((port) => port.nodePort ?? 0).toSorted((a, b) => a - b);
  return deepEqual(numbers(next), numbers(old));
}
