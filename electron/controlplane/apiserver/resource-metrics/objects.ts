// Pure: what a node's agent measured as objects of metrics.k8s.io.
// Source: kubernetes-sigs/metrics-server pkg/{api,storage}.
import type { Node, Pod } from '#kube/api/core.ts';
import type { NodeMetrics, PodMetrics, Usage } from '#kube/api/metrics.ts';
import type { ObjectMeta } from '#kube/api/meta.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { formatQuantity, quantityFromBytes } from '#kube/machinery/quantity.ts';
import type { NodeUsage, UsageSample } from './samples.ts';

const apiVersion = 'metrics.k8s.io/v1beta1';

/** Undefined: not known yet. */
export function nodeMetrics(
  { metadata }: Node,
  usage: NodeUsage | undefined,
  nowMs: number,
): NodeMetrics | undefined {
  if (usage?.node === undefined) return undefined;
  return {
    apiVersion,
    kind: 'NodeMetrics',
    metadata: metadataOf(metadata, nowMs),
    ...timeOf(usage),
    usage: quantities(usage.node),
  };
}

/** Undefined for a pod that does not run, or of which one container is not known yet. */
export function podMetrics(
  { metadata, status }: Pod,
  usage: NodeUsage | undefined,
  nowMs: number,
): PodMetrics | undefined {
  const pod = usage?.pods.get(`${metadata.namespace ?? ''}/${metadata.name}`);
  if (status?.phase !== 'Running' || usage === undefined || pod === undefined) return undefined;
  const containers = [...pod.containers].flatMap(([name, sample]) =>
    sample === undefined ? [] : [{ name, usage: quantities(sample) }],
  );
  if (containers.length === 0 || containers.length < pod.containers.size) return undefined;
  return {
    apiVersion,
    kind: 'PodMetrics',
    metadata: metadataOf(metadata, nowMs),
    ...timeOf(usage),
    containers,
  };
}

function metadataOf({ name, namespace, labels }: ObjectMeta, nowMs: number): ObjectMeta {
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    creationTimestamp: rfc3339(nowMs),
    ...(labels === undefined ? {} : { labels }),
  };
}

function timeOf({ timeMs, windowMs }: NodeUsage) {
  return { timestamp: rfc3339(timeMs), window: goDuration(windowMs) };
}

function quantities({ cpuNanoCores, memoryBytes }: UsageSample): Usage {
  return {
    cpu: formatQuantity({ nanos: BigInt(Math.round(cpuNanoCores)), format: 'DecimalSI' }),
    memory: quantityFromBytes(memoryBytes),
  };
}

/** As Go prints it: 512 → `512ms`, 15 012 → `15.012s`, 90 000 → `1m30s`. */
export function goDuration(ms: number): string {
  const whole = Math.round(ms);
  if (whole === 0) return '0s';
  if (whole < 1000) return `${whole}ms`;
  const minutes = Math.floor(whole / 60_000);
  const seconds = `${(whole % 60_000) / 1000}s`;
  return minutes === 0 ? seconds : `${minutes}m${seconds}`;
}
