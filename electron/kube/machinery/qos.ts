// The quality-of-service class of a pod, from its requests and limits of CPU and memory.
// Source: kubernetes pkg/apis/core/v1/helper/qos/qos.go (ComputePodQOS).
import type { Container, PodSpec, ResourceRequirements } from '../api/core.ts';
import { amountOf } from './pod-resources.ts';

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

const qosResources = ['cpu', 'memory'] as const;

export function podQosClass(spec: PodSpec): QosClass {
  const stated = [spec.resources].filter((resources) => resources !== undefined);
  const containers: readonly Container[] = [
    ...(spec.initContainers ?? []),
    ...(spec.containers ?? []),
  ];
  const all = stated.length > 0 ? stated : containers.map((container) => container.resources ?? {});
  if (!all.some(hasAny)) return 'BestEffort';
  return all.every(isGuaranteed) ? 'Guaranteed' : 'Burstable';
}

function hasAny(resources: ResourceRequirements): boolean {
  return qosResources.some(
    (resource) =>
      amount(resources.requests, resource) > 0 || amount(resources.limits, resource) > 0,
  );
}

/** Limits for both resources, and requests that equal them or are left to default to them. */
function isGuaranteed(resources: ResourceRequirements): boolean {
  return qosResources.every((resource) => {
    const limit = amount(resources.limits, resource);
    const request = resources.requests?.[resource];
    return limit > 0 && (request === undefined || amountOf(resource, request) === limit);
  });
}

function amount(list: ResourceRequirements['limits'], resource: string): number {
  const quantity = list?.[resource];
  return quantity === undefined ? 0 : amountOf(resource, quantity);
}
