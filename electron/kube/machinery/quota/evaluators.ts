// How much of a quota an object takes up: one evaluator for each kind that is measured by more than
// its number, and one for all others. Admission charges by them, the controller recounts by them. Pure.
// Source: kubernetes pkg/quota/v1/evaluator/core, apiserver pkg/quota/v1/generic/evaluator.go.
import type {
  Container,
  PersistentVolumeClaim,
  Pod,
  ScopedResourceSelectorRequirement,
  Service,
} from '../../api/core.ts';
import type { KubeObject } from '../../api/object.ts';
import type { Quantity } from '../../api/scalars.ts';
import { compareQuantities, formatQuantity, parseQuantity, toInteger } from '../quantity.ts';
import type { Amounts } from './amounts.ts';
import { podAmounts } from './pod-amounts.ts';
import { claimMatchesScope, podMatchesScope } from './scopes.ts';

export interface GroupResource {
  readonly group: string;
  readonly resource: string;
}

export interface QuotaEvaluator {
  /** Which of the names of a quota this kind is measured by. */
  readonly names: (names: readonly string[]) => string[];
  readonly usage: (object: KubeObject, nowMs: number) => Amounts;
  /** What the object has to say and does not, given what a quota limits. */
  readonly missing?: (names: readonly string[], object: KubeObject) => string | undefined;
  /** Kinds without it are in no scope. */
  readonly matchesScope?: (scope: ScopedResourceSelectorRequirement, object: KubeObject) => boolean;
}

export function countName({ group, resource }: GroupResource): string {
  return group === '' ? `count/${resource}` : `count/${resource}.${group}`;
}

export function evaluatorOf(kind: GroupResource): QuotaEvaluator {
  const special = kind.group === '' ? measured.get(kind.resource) : undefined;
  return special ?? countEvaluator(kind);
}

/** Kinds that have a name of their own in quotas, from before `count/`. */
const oldCountNames = ['configmaps', 'resourcequotas', 'replicationcontrollers', 'secrets'];

function countEvaluator(kind: GroupResource): QuotaEvaluator {
  const own = [countName(kind)];
  if (kind.group === '' && oldCountNames.includes(kind.resource)) own.push(kind.resource);
  return {
    names: (names) => names.filter((name) => own.includes(name)),
    usage: () => Object.fromEntries(own.map((name) => [name, '1'])),
  };
}

/** The kinds a quota's names speak of. `count/` of an unknown kind is its caller's to look up. */
export function kindsOf(names: readonly string[]): GroupResource[] {
  const plain = [...measured.keys(), ...oldCountNames].map((resource) => ({ group: '', resource }));
  const counted = names
    .filter((name) => name.startsWith('count/'))
    .map((name) => {
      const [resource = '', ...group] = name.slice('count/'.length).split('.');
      return { group: group.join('.'), resource };
    });
  const known = new Set(plain.map(countName));
  return [...plain, ...counted.filter((kind) => !known.has(countName(kind)))].filter(
    (kind) => evaluatorOf(kind).names(names).length > 0,
  );
}

const computeNames = ['cpu', 'memory', 'ephemeral-storage'];
const podNames = new Set([
  'count/pods',
  'pods',
  ...computeNames.flatMap((name) => [name, `requests.${name}`, `limits.${name}`]),
]);
/** Each container has to state what a quota limits of these. No others: it was a mistake. */
const requiredNames = ['cpu', 'memory'].flatMap((name) => [
  name,
  `requests.${name}`,
  `limits.${name}`,
]);

function isNative(name: string): boolean {
  return !name.includes('/') || name.includes('kubernetes.io/');
}

const pods: QuotaEvaluator = {
  names: (names) =>
    names.filter(
      (name) =>
        podNames.has(name) ||
        /^(requests\.)?hugepages-/.test(name) ||
        (name.startsWith('requests.') && !isNative(name)),
    ),
  usage(object, nowMs) {
    const pod = object as Pod;
    if (!isCharged(pod, nowMs)) return { 'count/pods': '1' };
    const { spec } = pod;
    return {
      'count/pods': '1',
      ...computeUsage(podAmounts(spec, 'requests'), podAmounts(spec, 'limits')),
    };
  },
  missing(names, object) {
    const { spec } = object as Pod;
    // What the pod asks for as a whole, its containers need not.
    const { requests = {}, limits = {} } = spec.resources ?? {};
    if (Object.keys(requests).length + Object.keys(limits).length > 0) return undefined;
    const required = requiredNames.filter((name) => names.includes(name));
    const containers: readonly Container[] = [...spec.containers, ...(spec.initContainers ?? [])];
    const parts = required.toSorted().flatMap((name) => {
      const lacking = containers
        .filter(({ resources }) => !(name in computeUsage(resources?.requests, resources?.limits)))
        .map((container) => container.name);
      return lacking.length === 0 ? [] : [`${name} for: ${[...lacking].toSorted().join(',')}`];
    });
    return parts.length === 0 ? undefined : `must specify ${parts.join('; ')}`;
  },
  matchesScope: (scope, object) => podMatchesScope(scope, object as Pod),
};

function computeUsage(requests: Amounts = {}, limits: Amounts = {}): Record<string, Quantity> {
  const usage: Record<string, Quantity> = { pods: '1' };
  for (const [name, amount] of Object.entries(requests)) {
    if (computeNames.includes(name) || name.startsWith('hugepages-')) usage[name] = amount;
    if (computeNames.includes(name) || name.startsWith('hugepages-') || !isNative(name))
      usage[`requests.${name}`] = amount;
  }
  for (const [name, amount] of Object.entries(limits))
    if (computeNames.includes(name)) usage[`limits.${name}`] = amount;
  return usage;
}

/** Neither finished, nor dying for longer than it was given: nobody may be there to end it. */
function isCharged(pod: Pod, nowMs: number): boolean {
  if (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') return false;
  const untilMs = chargedUntilMs(pod);
  return untilMs === undefined || nowMs <= untilMs;
}

/** When a pod that is being deleted is charged no longer; undefined: it is not being deleted. */
export function chargedUntilMs({ metadata }: Pod): number | undefined {
  const { deletionTimestamp, deletionGracePeriodSeconds } = metadata;
  if (deletionTimestamp === undefined || deletionGracePeriodSeconds === undefined) return undefined;
  return Date.parse(deletionTimestamp) + deletionGracePeriodSeconds * 1000;
}

const services: QuotaEvaluator = {
  names: (names) =>
    names.filter((name) =>
      ['count/services', 'services', 'services.nodeports', 'services.loadbalancers'].includes(name),
    ),
  usage(object) {
    const { spec } = object as Service;
    const ports = spec.ports ?? [];
    const isBalanced = spec.type === 'LoadBalancer';
    const given = ports.filter(({ nodePort = 0 }) => nodePort !== 0).length;
    const wanted = spec.allocateLoadBalancerNodePorts === false ? given : ports.length;
    const nodePorts = spec.type === 'NodePort' ? ports.length : isBalanced ? wanted : 0;
    return {
      'count/services': '1',
      services: '1',
      'services.nodeports': String(nodePorts),
      'services.loadbalancers': isBalanced ? '1' : '0',
    };
  },
};

const claimNames = ['persistentvolumeclaims', 'requests.storage'];
const ofClass = '.storageclass.storage.k8s.io/';
const oldClassAnnotation = 'volume.beta.kubernetes.io/storage-class';

const claims: QuotaEvaluator = {
  names: (names) =>
    names.filter(
      (name) =>
        name === 'count/persistentvolumeclaims' ||
        claimNames.some((one) => name === one || name.endsWith(`${ofClass}${one}`)),
    ),
  usage(object) {
    const claim = object as PersistentVolumeClaim;
    const className = storageClassOf(claim);
    const usage: Record<string, Quantity> = {
      'count/persistentvolumeclaims': '1',
      persistentvolumeclaims: '1',
    };
    const storage = storageOf(claim);
    if (storage !== undefined) usage['requests.storage'] = storage;
    if (className === '') return usage;
    for (const name of claimNames)
      if (usage[name] !== undefined) usage[`${className}${ofClass}${name}`] = usage[name];
    return usage;
  },
  matchesScope: (scope, object) => claimMatchesScope(scope, object as PersistentVolumeClaim),
};

export function storageClassOf({ metadata, spec }: PersistentVolumeClaim): string {
  return metadata.annotations?.[oldClassAnnotation] ?? spec.storageClassName ?? '';
}

/** What was asked for, or more if a volume is being made smaller again; in whole bytes. */
function storageOf({ spec, status }: PersistentVolumeClaim): Quantity | undefined {
  const asked = spec.resources?.requests?.['storage'];
  if (asked === undefined) return undefined;
  const allocated = status?.allocatedResources?.['storage'] ?? 0;
  return wholeBytes(compareQuantities(allocated, asked) > 0 ? allocated : asked);
}

function wholeBytes(quantity: Quantity): string {
  const { format } = parseQuantity(quantity);
  return formatQuantity({ nanos: BigInt(toInteger(quantity)) * 1_000_000_000n, format });
}

const measured: ReadonlyMap<string, QuotaEvaluator> = new Map([
  ['pods', pods],
  ['services', services],
  ['persistentvolumeclaims', claims],
]);
