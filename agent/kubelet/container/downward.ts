// Pure: what `fieldRef` and `resourceFieldRef` stand for, in variables and in volume files.
// Source: kubernetes pkg/fieldpath/fieldpath.go, pkg/api/v1/resource/helpers.go.
import type { Container, ObjectFieldSelector, Pod, ResourceFieldSelector } from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import { parseQuantity } from '#kube/machinery/quantity.ts';

export interface PodAddresses {
  readonly podIps: readonly string[];
  readonly nodeIps: readonly string[];
}

/** Undefined: no such field, or not known yet. */
export function podField(
  pod: Pod,
  { fieldPath }: ObjectFieldSelector,
  addresses: PodAddresses,
): string | undefined {
  const { metadata, spec } = pod;
  const subscript = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(fieldPath);
  if (subscript !== null) {
    const map = subscript[1] === 'labels' ? metadata.labels : metadata.annotations;
    const key = subscript[2] ?? '';
    return map !== undefined && Object.hasOwn(map, key) ? map[key] : '';
  }
  const fields: Readonly<Record<string, () => string | undefined>> = {
    'metadata.name': () => metadata.name,
    'metadata.namespace': () => metadata.namespace,
    'metadata.uid': () => metadata.uid,
    'metadata.labels': () => formatMap(metadata.labels),
    'metadata.annotations': () => formatMap(metadata.annotations),
    'spec.nodeName': () => spec.nodeName,
    'spec.serviceAccountName': () => spec.serviceAccountName ?? '',
    'status.hostIP': () => addresses.nodeIps[0],
    'status.hostIPs': () => addresses.nodeIps.join(','),
    'status.podIP': () => addresses.podIps[0],
    'status.podIPs': () => addresses.podIps.join(','),
  };
  return Object.hasOwn(fields, fieldPath) ? fields[fieldPath]?.() : undefined;
}

/** `key="value"` lines, sorted by key. */
function formatMap(map: Readonly<Record<string, string>> = {}): string {
  return Object.keys(map)
    .sort()
    .map((key) => `${key}=${JSON.stringify(map[key])}`)
    .join('\n');
}

/**
 * A request or limit of a container in units of the divisor, rounded up. A limit that is not set
 * is all that the node has to give.
 */
export function containerResource(
  container: Container,
  { resource, divisor }: ResourceFieldSelector,
  allocatable: Readonly<Record<string, Quantity>>,
): string | undefined {
  const match = /^(limits|requests)\.(.+)$/.exec(resource);
  if (match === null) return undefined;
  const [, kind, name = ''] = match;
  const { limits = {}, requests = {} } = container.resources ?? {};
  const value =
    kind === 'limits' ? (limits[name] ?? allocatable[name]) : (requests[name] ?? limits[name]);
  const unit = divisor === undefined || String(divisor) === '0' ? '1' : divisor;
  const { nanos } = parseQuantity(value ?? 0);
  const step = parseQuantity(unit).nanos;
  return String((nanos + step - 1n) / step);
}
