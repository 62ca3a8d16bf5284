// What makes a pod's spec legal, in the order Kubernetes checks it. Called for pods and for the
// templates of workloads; the parts live in the files beside this one.
// Left out: Windows, resource claims, AppArmor and seccomp annotations.
// Source: kubernetes pkg/apis/core/validation/validation.go ValidatePodSpec.
import type { Pod, PodSpec, PodTemplateSpec } from '#kube/api/core.ts';
import {
  field,
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import {
  dns1123SubdomainName,
  isDns1123Label,
  isDns1123Subdomain,
  isQualifiedName,
} from '#kube/machinery/names.ts';
import { validateAnnotations, validateLabels } from '#kube/machinery/object-meta.ts';
import { asGiven, check, isIP, maxInt32, rangeMessage } from '../text-rules.ts';
import { validatePodAffinity } from './affinity.ts';
import { validateContainers, validateInitContainers } from './containers.ts';
import {
  validateNodeAffinity,
  validateSchedulingGates,
  validateSpreadConstraints,
  validateTolerations,
} from './scheduling.ts';
import { validateHostUsers, validatePodSecurityContext } from './security.ts';
import { validateVolumes } from './volumes.ts';

export function validatePod(pod: Pod): FieldError[] {
  const path = field('spec');
  const errors = validatePodSpec(pod.spec, path, { isPod: true });
  for (const [list, containers] of [
    ['containers', pod.spec.containers ?? []],
    ['initContainers', pod.spec.initContainers ?? []],
  ] as const)
    for (const [index, { image = '' }] of containers.entries())
      if (image !== image.trim())
        errors.push(
          invalid(
            path.child(list).index(index).child('image'),
            image,
            'must not have leading or trailing whitespace',
          ),
        );
  if ((pod.spec.nodeName ?? '') !== '' && (pod.spec.schedulingGates ?? []).length > 0)
    errors.push(
      forbidden(
        path.child('nodeName'),
        'cannot be set until all schedulingGates have been cleared',
      ),
    );
  return errors;
}

export function validatePodCreate(pod: Pod): FieldError[] {
  if ((pod.spec.ephemeralContainers ?? []).length === 0) return [];
  return [forbidden(field('spec', 'ephemeralContainers'), 'cannot be set on create')];
}

export function validatePodTemplate(template: PodTemplateSpec, path: FieldPath): FieldError[] {
  const { metadata, spec = { containers: [] } } = template;
  const errors = [
    ...validateLabels(metadata?.labels, path.child('labels')),
    ...validateAnnotations(metadata?.annotations, path.child('annotations')),
    ...validatePodSpec(spec, path.child('spec'), { isPod: false }),
  ];
  if ((spec.ephemeralContainers ?? []).length > 0)
    errors.push(
      forbidden(
        path.child('spec', 'ephemeralContainers'),
        'ephemeral containers not allowed in pod template',
      ),
    );
  return errors;
}

function validatePodSpec(
  spec: PodSpec,
  path: FieldPath,
  { isPod }: { readonly isPod: boolean },
): FieldError[] {
  const graceSeconds = spec.terminationGracePeriodSeconds;
  const volumes = validateVolumes(spec.volumes ?? [], path.child('volumes'));
  const scope = { volumes: volumes.legal, graceSeconds, restartPolicy: spec.restartPolicy };
  const containers = spec.containers ?? [];
  return [
    ...(graceSeconds === undefined
      ? [required(path.child('terminationGracePeriodSeconds'), '')]
      : []),
    ...volumes.errors,
    ...validateContainers(containers, scope, path.child('containers')),
    ...validateInitContainers(
      spec.initContainers ?? [],
      containers,
      scope,
      path.child('initContainers'),
    ),
    ...(spec.hostNetwork === true ? validateHostNetworkPorts(spec, path, isPod) : []),
    ...oneOf(path.child('restartPolicy'), spec.restartPolicy, restartPolicies),
    ...oneOf(path.child('dnsPolicy'), spec.dnsPolicy, dnsPolicies),
    ...validateLabels(spec.nodeSelector, path.child('nodeSelector')),
    ...validatePodSecurityContext(spec, path),
    ...validateNodeAffinity(spec.affinity?.nodeAffinity, path.child('affinity', 'nodeAffinity')),
    ...validatePodAffinity(spec.affinity?.podAffinity, path.child('affinity', 'podAffinity')),
    ...validatePodAffinity(
      spec.affinity?.podAntiAffinity,
      path.child('affinity', 'podAntiAffinity'),
    ),
    ...validateDnsConfig(spec, path.child('dnsConfig')),
    ...(spec.readinessGates ?? []).flatMap(
      ({ conditionType = '' }: { conditionType?: string }, index) =>
        check(
          path.child('readinessGates').index(index).child('conditionType'),
          conditionType,
          isQualifiedName(conditionType),
        ),
    ),
    ...validateSchedulingGates(spec.schedulingGates ?? [], path.child('schedulingGates')),
    ...validateSpreadConstraints(
      spec.topologySpreadConstraints ?? [],
      path.child('topologySpreadConstraints'),
    ),
    ...validateHostUsers(spec, path),
    ...validateNames(spec, path),
    ...validateTolerations(spec.tolerations ?? [], path.child('tolerations')),
    ...validateHostAliases(spec, path.child('hostAliases')),
    ...validateRemainder(spec, path),
  ];
}

const restartPolicies = ['Always', 'OnFailure', 'Never'] as const;
const dnsPolicies = ['ClusterFirstWithHostNet', 'ClusterFirst', 'Default', 'None'] as const;

function oneOf(
  path: FieldPath,
  value: string | undefined,
  supported: readonly string[],
): FieldError[] {
  if (value === undefined || value === '') return [required(path, '')];
  return supported.includes(value) ? [] : [notSupported(path, value, supported)];
}

/** A template may leave host ports out: they are filled in when the pod is made. */
function validateHostNetworkPorts(spec: PodSpec, path: FieldPath, isPod: boolean): FieldError[] {
  return (spec.containers ?? []).flatMap(({ ports = [] }, index) =>
    ports.flatMap(({ hostPort = 0, containerPort }, portIndex) =>
      hostPort === containerPort || (!isPod && hostPort === 0)
        ? []
        : [
            invalid(
              path
                .child('containers')
                .index(index)
                .child('ports')
                .index(portIndex)
                .child('hostPort'),
              hostPort,
              'must match `containerPort` when `hostNetwork` is true',
            ),
          ],
    ),
  );
}

function validateDnsConfig({ dnsConfig, dnsPolicy }: PodSpec, path: FieldPath): FieldError[] {
  if (dnsPolicy === 'None' && dnsConfig === undefined)
    return [required(path, 'must provide `dnsConfig` when `dnsPolicy` is None')];
  if (dnsConfig === undefined) return [];
  const { nameservers = [], searches = [], options = [] } = dnsConfig;
  const serversPath = path.child('nameservers');
  const searchesPath = path.child('searches');
  if (dnsPolicy === 'None' && nameservers.length === 0)
    return [
      required(serversPath, 'must provide at least one DNS nameserver when `dnsPolicy` is None'),
    ];
  const errors: FieldError[] = [];
  if (nameservers.length > 3)
    errors.push(invalid(serversPath, nameservers, 'must not have more than 3 nameservers'));
  for (const [index, server] of nameservers.entries())
    errors.push(...check(serversPath.index(index), server, isIP(server)));
  if (searches.length > 32)
    errors.push(invalid(searchesPath, searches, 'must not have more than 32 search paths'));
  if (searches.join(' ').length > 2048)
    errors.push(
      invalid(
        searchesPath,
        searches,
        'must not have more than 2048 characters (including spaces) in the search list',
      ),
    );
  for (const [index, option] of options.entries())
    if ((option.name ?? '') === '')
      errors.push(required(path.child('options').index(index), 'must not be empty'));
  return errors;
}

function validateNames(spec: PodSpec, path: FieldPath): FieldError[] {
  const { serviceAccountName = '', nodeName = '', hostname = '', subdomain = '' } = spec;
  const deadline = spec.activeDeadlineSeconds;
  return [
    ...unlessEmpty(path.child('serviceAccountName'), serviceAccountName, subdomainMessages),
    ...unlessEmpty(path.child('nodeName'), nodeName, subdomainMessages),
    ...(deadline !== undefined && (deadline < 1 || deadline > maxInt32)
      ? [invalid(path.child('activeDeadlineSeconds'), deadline, rangeMessage(1, maxInt32))]
      : []),
    ...unlessEmpty(path.child('hostname'), hostname, isDns1123Label),
    ...unlessEmpty(path.child('subdomain'), subdomain, isDns1123Label),
  ];
}

function subdomainMessages(name: string): readonly string[] {
  return dns1123SubdomainName(name, false);
}

function unlessEmpty(
  path: FieldPath,
  text: string,
  rule: (text: string) => readonly string[],
): FieldError[] {
  return text === '' ? [] : check(path, text, rule(text));
}

function validateHostAliases({ hostAliases = [] }: PodSpec, path: FieldPath): FieldError[] {
  return hostAliases
    .map(asGiven)
    .flatMap(({ ip = '', hostnames = [] }, index) => [
      ...check(path.index(index).child('ip'), ip, isIP(ip)),
      ...hostnames.flatMap((hostname, j) =>
        check(
          path.index(index).child('hostnames').index(j),
          hostname,
          isDns1123Subdomain(hostname),
        ),
      ),
    ]);
}

function validateRemainder(spec: PodSpec, path: FieldPath): FieldError[] {
  const { priorityClassName = '', runtimeClassName, preemptionPolicy } = spec;
  return [
    ...unlessEmpty(path.child('priorityClassName'), priorityClassName, subdomainMessages),
    ...(runtimeClassName === undefined
      ? []
      : check(
          path.child('runtimeClassName'),
          runtimeClassName,
          isDns1123Subdomain(runtimeClassName),
        )),
    ...(preemptionPolicy === undefined
      ? []
      : oneOf(path.child('preemptionPolicy'), preemptionPolicy, ['PreemptLowerPriority', 'Never'])),
  ];
}
