// LimitRanger: what a container does not say about its resources is filled in from the LimitRanges of
// its namespace, and what containers, pods and claims ask for has to be within them.
// Source: kubernetes plugin/pkg/admission/limitranger/admission.go.
import type {
  Container,
  LimitRange,
  LimitRangeItem,
  PersistentVolumeClaim,
  Pod,
} from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import {
  canonicalQuantity,
  compareQuantities,
  parseQuantity,
  toNumber,
} from '#kube/machinery/quantity.ts';
import { amountIn, type Amounts } from '#kube/machinery/quota/amounts.ts';
import { podAmounts } from '#kube/machinery/quota/pod-amounts.ts';
import { forbidden } from '#kube/machinery/status.ts';
import type { AdmissionAttributes, AdmissionPlugin, ObjectReader } from '../chain.ts';

const limitRanges = { group: '', version: 'v1', resource: 'limitranges' };
const annotation = 'kubernetes.io/limit-ranger';

export function limitRanger(reader: ObjectReader): AdmissionPlugin {
  const rangesOf = (namespace: string) =>
    reader.list(limitRanges, namespace) as unknown as readonly LimitRange[];
  return {
    name: 'LimitRanger',
    handles: isLimited,
    admit({ resource, operation, namespace, object }) {
      if (resource.resource !== 'pods' || operation !== 'CREATE') return;
      for (const range of rangesOf(namespace)) fillIn(object as Pod, range.spec.limits);
    },
    validate({ resource, namespace, name, object }) {
      const isPod = resource.resource === 'pods';
      for (const { spec } of rangesOf(namespace)) {
        const problems = isPod
          ? podProblems(object as Pod, spec.limits)
          : claimProblems(object as PersistentVolumeClaim, spec.limits);
        if (problems.length > 0) throw forbidden(resource, name, joined(problems));
      }
    },
  };
}

/** Resources of a pod's containers change by /resize only. */
function isLimited({ operation, resource, subresource, oldObject }: AdmissionAttributes): boolean {
  if (resource.group !== '' || oldObject?.metadata.deletionTimestamp !== undefined) return false;
  if (resource.resource === 'pods')
    return (
      (operation === 'CREATE' && subresource === '') ||
      (operation === 'UPDATE' && subresource === 'resize')
    );
  return (
    resource.resource === 'persistentvolumeclaims' &&
    subresource === '' &&
    (operation === 'CREATE' || operation === 'UPDATE')
  );
}

/** As Go joins several errors. */
function joined(problems: readonly string[]): string {
  const distinct = [...new Set(problems)];
  return distinct.length === 1 ? (distinct[0] ?? '') : `[${distinct.join(', ')}]`;
}

function fillIn({ metadata, spec }: Pod, limits: readonly LimitRangeItem[]): void {
  const ofContainers = limits.filter(({ type }) => type === 'Container');
  const requests = Object.assign({}, ...ofContainers.map((limit) => limit.defaultRequest ?? {}));
  const most = Object.assign({}, ...ofContainers.map((limit) => limit.default ?? {}));
  const notes: string[] = [];
  const fill = (container: Container, what: string): void => {
    const { resources = {} } = container;
    const parts = [
      ['request', 'requests', requests as Amounts],
      ['limit', 'limits', most as Amounts],
    ] as const;
    for (const [word, part, presets] of parts) {
      const given: Amounts = resources[part] ?? {};
      const names = Object.keys(presets).filter((name) => amountIn(given, name) === undefined);
      if (names.length === 0) continue;
      container.resources = { ...container.resources, [part]: { ...presets, ...given } };
      notes.push(`${names.toSorted().join(', ')} ${word} for ${what} ${container.name}`);
    }
  };
  for (const container of spec.containers) fill(container, 'container');
  for (const container of spec.initContainers ?? []) fill(container, 'init container');
  if (notes.length === 0) return;
  const text = `LimitRanger plugin set: ${notes.join('; ')}`;
  metadata.annotations = { ...metadata.annotations, [annotation]: text };
}

interface Asked {
  readonly requests: Amounts;
  readonly limits: Amounts;
}

function podProblems({ spec }: Pod, limits: readonly LimitRangeItem[]): string[] {
  // What a runtime takes for itself is not the pod's wish.
  const { overhead: _overhead, ...own } = spec;
  const containers = [...spec.containers, ...(spec.initContainers ?? [])];
  return limits.flatMap((limit) => {
    if (limit.type === 'Container')
      return containers.flatMap(({ resources }) =>
        outOfBounds(limit, {
          requests: resources?.requests ?? {},
          limits: resources?.limits ?? {},
        }),
      );
    if (limit.type !== 'Pod') return [];
    return outOfBounds(limit, {
      requests: podAmounts(own, 'requests'),
      limits: podAmounts(own, 'limits'),
    });
  });
}

function claimProblems(
  { spec }: PersistentVolumeClaim,
  limits: readonly LimitRangeItem[],
): string[] {
  const requests: Amounts = spec.resources?.requests ?? {};
  return limits
    .filter(({ type }) => type === 'PersistentVolumeClaim')
    .flatMap((limit) => [
      ...each(limit.min, (bound, name) =>
        belowMin(bound, { limit, name }, { requests, limits: {} }),
      ),
      // A claim has no limit: what it requests has to be within the maximum.
      ...each(limit.max, (bound, name) => requestAboveMax(bound, { limit, name }, requests)),
    ]);
}

function outOfBounds(limit: LimitRangeItem, asked: Asked): string[] {
  return [
    ...each(limit.min, (bound, name) => belowMin(bound, { limit, name }, asked)),
    ...each(limit.max, (bound, name) => aboveMax(bound, { limit, name }, asked)),
    ...each(limit.maxLimitRequestRatio, (bound, name) => aboveRatio(bound, { limit, name }, asked)),
  ];
}

function each(
  amounts: Amounts | undefined,
  check: (bound: Quantity, name: string) => string | undefined,
): string[] {
  return Object.entries(amounts ?? {})
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, bound]) => check(bound, name))
    .filter((problem) => problem !== undefined);
}

interface Subject {
  readonly limit: LimitRangeItem;
  readonly name: string;
}

function belowMin(bound: Quantity, subject: Subject, { requests, limits }: Asked) {
  const request = amountIn(requests, subject.name);
  const most = amountIn(limits, subject.name);
  const start = usage('minimum', bound, subject);
  if (request === undefined) return `${start}.  No request is specified`;
  if (compareQuantities(request, bound) < 0) return `${start}, but request is ${shown(request)}`;
  if (most !== undefined && compareQuantities(most, bound) < 0)
    return `${start}, but limit is ${shown(most)}`;
  return undefined;
}

function aboveMax(bound: Quantity, subject: Subject, { requests, limits }: Asked) {
  const request = amountIn(requests, subject.name);
  const most = amountIn(limits, subject.name);
  const start = usage('maximum', bound, subject);
  if (most === undefined) return `${start}.  No limit is specified`;
  if (compareQuantities(most, bound) > 0) return `${start}, but limit is ${shown(most)}`;
  if (request !== undefined && compareQuantities(request, bound) > 0)
    return `${start}, but request is ${shown(request)}`;
  return undefined;
}

function requestAboveMax(bound: Quantity, subject: Subject, requests: Amounts) {
  const request = amountIn(requests, subject.name);
  const start = usage('maximum', bound, subject);
  if (request === undefined) return `${start}.  No request is specified`;
  if (compareQuantities(request, bound) > 0) return `${start}, but request is ${shown(request)}`;
  return undefined;
}

function aboveRatio(bound: Quantity, { limit, name }: Subject, { requests, limits }: Asked) {
  const request = parseQuantity(amountIn(requests, name) ?? 0).nanos;
  const most = parseQuantity(amountIn(limits, name) ?? 0).nanos;
  const start = `${name} max limit to request ratio per ${limit.type} is ${shown(bound)}`;
  if (request === 0n) return `${start}, but no request is specified or request is 0`;
  if (most === 0n) return `${start}, but no limit is specified or limit is 0`;
  if (most * 1_000_000_000n <= request * parseQuantity(bound).nanos) return undefined;
  const ratio = toNumber(amountIn(limits, name) ?? 0) / toNumber(amountIn(requests, name) ?? 0);
  return `${start}, but provided ratio is ${ratio.toFixed(6)}`;
}

function usage(which: string, bound: Quantity, { limit, name }: Subject): string {
  return `${which} ${name} usage per ${limit.type} is ${shown(bound)}`;
}

function shown(quantity: Quantity): string {
  return canonicalQuantity(quantity);
}
