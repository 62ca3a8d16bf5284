// PodSecurity: pods keep to the level their namespace enforces; whoever writes a pod, or what makes
// pods, is warned of the level it warns of. Who tightens a namespace is told which pods violate it.
// Source: kubernetes pod-security-admission admission/admission.go.
import type { Deployment } from '#kube/api/apps.ts';
import type { CronJob } from '#kube/api/batch.ts';
import type { Namespace, Pod, PodTemplate, PodTemplateSpec } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { forbidden, internalError, invalid } from '#kube/machinery/status.ts';
import type { AdmissionAttributes, AdmissionPlugin, ObjectReader } from '../chain.ts';
import { checkedPod, type AnyContainer } from './check.ts';
import {
  detailsText,
  isSameLevel,
  isStricter,
  levelText,
  policyOf,
  reasonsText,
  violationsOf,
  type LevelVersion,
  type Policy,
} from './policy.ts';

const prefix = 'pod-security.kubernetes.io/';
const namespaces = { group: '', version: 'v1', resource: 'namespaces' };
const pods = { group: '', version: 'v1', resource: 'pods' };
/** Pods looked at when a namespace is tightened. */
const maxPods = 3000;

/** By `group/resource`: where a pod's template is. */
const templates: Readonly<Record<string, (object: KubeObject) => PodTemplateSpec | undefined>> = {
  '/replicationcontrollers': templateOfSpec,
  '/podtemplates': (object) => (object as PodTemplate).template,
  'apps/replicasets': templateOfSpec,
  'apps/deployments': templateOfSpec,
  'apps/statefulsets': templateOfSpec,
  'apps/daemonsets': templateOfSpec,
  'batch/jobs': templateOfSpec,
  'batch/cronjobs': (object) => (object as CronJob).spec?.jobTemplate?.spec?.template,
};

function templateOfSpec(object: KubeObject): PodTemplateSpec | undefined {
  return (object as Deployment).spec?.template;
}

/** Subresources of pods that are no pod, or leave its spec as it is. */
const ignored: ReadonlySet<string> = new Set([
  'exec',
  'attach',
  'binding',
  'eviction',
  'log',
  'portforward',
  'proxy',
  'status',
]);

export function podSecurity(reader: ObjectReader): AdmissionPlugin {
  return {
    name: 'PodSecurity',
    handles: ({ operation, resource, subresource }) => {
      if (operation !== 'CREATE' && operation !== 'UPDATE') return false;
      const kind = `${resource.group}/${resource.resource}`;
      if (kind === '/pods') return !ignored.has(subresource);
      return subresource === '' && (kind === '/namespaces' || Object.hasOwn(templates, kind));
    },
    async validate(attributes) {
      const { resource, object } = attributes;
      if (resource.resource === 'namespaces') return checkNamespace(attributes, reader);
      if (resource.resource !== 'pods') {
        const template = templates[`${resource.group}/${resource.resource}`]?.(
          object as KubeObject,
        );
        if (template?.spec === undefined) return;
        return tellOf(await policyIn(attributes.namespace, reader), template, attributes);
      }
      const pod = object as Pod;
      const old = attributes.oldObject as Pod | undefined;
      if (old !== undefined && !isSignificant(pod, old)) return;
      const policy = await policyIn(attributes.namespace, reader);
      attributes.annotate?.(`${prefix}enforce-policy`, levelText(policy.enforce));
      enforce(policy.enforce, pod, attributes);
      tellOf(policy, pod, attributes);
    },
  };
}

async function policyIn(namespace: string, reader: ObjectReader): Promise<Policy> {
  const object = await reader.get(namespaces, '', namespace);
  if (object === undefined)
    throw internalError(new Error(`failed to lookup namespace "${namespace}"`));
  return policyOf(object.metadata.labels).policy;
}

type PodLike = Pick<Pod, 'metadata' | 'spec'> | PodTemplateSpec;

function found(level: LevelVersion, { metadata, spec }: PodLike) {
  return spec === undefined ? [] : violationsOf(level, checkedPod(metadata, spec));
}

function enforce(level: LevelVersion, pod: Pod, { resource, name }: AdmissionAttributes): void {
  const violations = found(level, pod);
  if (violations.length === 0) return;
  const why = `violates PodSecurity "${levelText(level)}": ${detailsText(violations)}`;
  throw forbidden(resource, name, why);
}

/** Whoever writes it is warned of one level, the audit is told of another. */
function tellOf(policy: Policy, pod: PodLike, { warn, annotate }: AdmissionAttributes): void {
  const textOf = (level: LevelVersion): string | undefined => {
    const violations = found(level, pod);
    if (violations.length === 0) return undefined;
    return `would violate PodSecurity "${levelText(level)}": ${detailsText(violations)}`;
  };
  const audited = textOf(policy.audit);
  if (audited !== undefined) annotate?.(`${prefix}audit-violations`, audited);
  const warned = textOf(policy.warn);
  if (warned !== undefined) warn(warned);
}

function checkNamespace(attributes: AdmissionAttributes, reader: ObjectReader): void {
  const { kind, name, object, oldObject, operation, warn } = attributes;
  const next = policyOf((object as Namespace).metadata.labels);
  const old = policyOf(oldObject?.metadata.labels);
  const isNewError = JSON.stringify(next.errors) !== JSON.stringify(old.errors);
  if (next.errors.length > 0 && (operation === 'CREATE' || isNewError))
    throw invalid(kind, name, next.errors);
  if (operation === 'CREATE') return;
  const [to, from] = [next.policy.enforce, old.policy.enforce];
  if (to.level === 'privileged' || isSameLevel(to, from)) return;
  if (to.version === from.version && !isStricter(to.level, from.level)) return;
  for (const text of podWarnings(name, to, reader)) warn(text);
}

/** Pods that violate the same are told together, by the first of them. */
function podWarnings(namespace: string, level: LevelVersion, reader: ObjectReader): string[] {
  const all = reader.list(pods, namespace) as unknown as readonly Pod[];
  const namesByReasons = new Map<string, string[]>();
  for (const pod of all.slice(0, maxPods)) {
    const reasons = reasonsText(found(level, pod));
    if (reasons === '') continue;
    const names = namesByReasons.get(reasons) ?? [];
    namesByReasons.set(reasons, [...names, pod.metadata.name]);
  }
  const warnings: string[] = [];
  if (all.length > maxPods)
    warnings.push(
      `new PodSecurity enforce level only checked against the first ${maxPods} of ${all.length} existing pods`,
    );
  if (namesByReasons.size > 0)
    warnings.push(
      `existing pods in namespace "${namespace}" violate the new PodSecurity enforce level "${levelText(level)}"`,
    );
  const lines = [...namesByReasons].map(([reasons, names]) => `${whoText(names)}: ${reasons}`);
  return [...warnings, ...lines.toSorted()];
}

function whoText(names: readonly string[]): string {
  const [first = '', ...others] = names.toSorted();
  if (others.length === 0) return first;
  return `${first} (and ${others.length} other ${others.length === 1 ? 'pod' : 'pods'})`;
}

const seccompAnnotation = 'seccomp.security.alpha.kubernetes.io/pod';
const seccompPrefix = 'container.seccomp.security.alpha.kubernetes.io/';

/** Of what an update of a pod may change, this is what the checks look at. */
function isSignificant(next: Pod, old: Pod): boolean {
  const annotation = ({ metadata }: Pod, key: string) => metadata.annotations?.[key];
  const isOther = (container: AnyContainer, before: AnyContainer | undefined): boolean => {
    const key = `${seccompPrefix}${container.name}`;
    return container.image !== before?.image || annotation(next, key) !== annotation(old, key);
  };
  const lists = ['containers', 'initContainers'] as const;
  const ephemeral = old.spec.ephemeralContainers ?? [];
  return (
    annotation(next, seccompAnnotation) !== annotation(old, seccompAnnotation) ||
    lists.some((list) => {
      const [now = [], before = []] = [next.spec[list], old.spec[list]];
      return now.length !== before.length || now.some((one, index) => isOther(one, before[index]));
    }) ||
    (next.spec.ephemeralContainers ?? []).some((one) =>
      isOther(
        one,
        ephemeral.find(({ name }) => name === one.name),
      ),
    )
  );
}
