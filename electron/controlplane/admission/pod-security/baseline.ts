// The checks of the level "baseline": nothing that is known to break out of a container.
// Source: kubernetes pod-security-admission policy/check_*.go.
import type { LifecycleHandler, Probe, SELinuxOptions } from '#kube/api/core.ts';
import {
  containersOf,
  containersText,
  hasUserNamespace,
  namesWhere,
  quoted,
  settersText,
  sortedSet,
  type AnyContainer,
  type Check,
  type CheckedPod,
  type Violation,
} from './check.ts';

const apparmorAnnotation = 'container.apparmor.security.beta.kubernetes.io/';

function appArmorProfile(pod: CheckedPod): Violation | undefined {
  const isBad = (type: string | undefined): boolean =>
    type !== undefined && type !== 'RuntimeDefault' && type !== 'Localhost';
  const podType = pod.spec.securityContext?.appArmorProfile?.type;
  const typeOf = ({ securityContext }: AnyContainer) => securityContext?.appArmorProfile?.type;
  const names = namesWhere(pod, (container) => isBad(typeOf(container)));
  const types = [podType, ...containersOf(pod).map(typeOf)].filter(isBad) as string[];
  const annotations = Object.entries(pod.annotations)
    .filter(([key, value]) => key.startsWith(apparmorAnnotation) && !isAllowedAnnotation(value))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .toSorted();
  const values = [...sortedSet(types), ...annotations];
  if (values.length === 0) return undefined;
  const word = annotations.length === 1 ? 'annotation' : 'annotations';
  const setters = [settersText(isBad(podType), names), annotations.length > 0 ? word : ''];
  return {
    reason: values.length === 1 ? 'forbidden AppArmor profile' : 'forbidden AppArmor profiles',
    detail: `${setters.filter((one) => one !== '').join(' and ')} must not set AppArmor profile type to ${quoted(values)}`,
  };
}

function isAllowedAnnotation(value: string): boolean {
  return value === '' || value === 'runtime/default' || value.startsWith('localhost/');
}

const defaultCapabilities: ReadonlySet<string> = new Set([
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
]);

function capabilities(pod: CheckedPod): Violation | undefined {
  const added = ({ securityContext }: AnyContainer): string[] =>
    (securityContext?.capabilities?.add ?? []).filter((one) => !defaultCapabilities.has(one));
  const names = namesWhere(pod, (container) => added(container).length > 0);
  if (names.length === 0) return undefined;
  const all = sortedSet(containersOf(pod).flatMap(added));
  return {
    reason: 'non-default capabilities',
    detail: `${containersText(names)} must not include ${quoted(all)} in securityContext.capabilities.add`,
  };
}

function hostNamespaces({ spec }: CheckedPod): Violation | undefined {
  const used = (['hostNetwork', 'hostPID', 'hostIPC'] as const).filter((name) => spec[name]);
  if (used.length === 0) return undefined;
  return { reason: 'host namespaces', detail: used.map((name) => `${name}=true`).join(', ') };
}

function hostPathVolumes({ spec }: CheckedPod): Violation | undefined {
  const names = (spec.volumes ?? [])
    .filter(({ hostPath }) => hostPath !== undefined)
    .map(({ name }) => name);
  if (names.length === 0) return undefined;
  const word = names.length === 1 ? 'volume' : 'volumes';
  return { reason: 'hostPath volumes', detail: `${word} ${quoted(names)}` };
}

function hostPorts(pod: CheckedPod): Violation | undefined {
  const portsOf = ({ ports = [] }: AnyContainer): string[] =>
    ports.map(({ hostPort = 0 }) => String(hostPort)).filter((port) => port !== '0');
  const names = namesWhere(pod, (container) => portsOf(container).length > 0);
  if (names.length === 0) return undefined;
  const ports = sortedSet(containersOf(pod).flatMap(portsOf));
  const uses = names.length === 1 ? 'uses' : 'use';
  const word = ports.length === 1 ? 'hostPort' : 'hostPorts';
  return {
    reason: 'hostPort',
    detail: `${containersText(names)} ${uses} ${word} ${ports.join(', ')}`,
  };
}

function hostProbesAndHostLifecycle(pod: CheckedPod): Violation | undefined {
  const hostsOf = (handler: Probe | LifecycleHandler | undefined): string[] =>
    [handler?.httpGet?.host ?? '', handler?.tcpSocket?.host ?? ''].filter((host) => host !== '');
  const hosts = (container: AnyContainer): string[] =>
    [
      container.livenessProbe,
      container.readinessProbe,
      container.startupProbe,
      container.lifecycle?.postStart,
      container.lifecycle?.preStop,
    ].flatMap(hostsOf);
  const names = sortedSet(namesWhere(pod, (container) => hosts(container).length > 0));
  if (names.length === 0) return undefined;
  const all = sortedSet(containersOf(pod).flatMap(hosts));
  const uses = names.length === 1 ? 'uses' : 'use';
  const word = all.length === 1 ? 'probe or lifecycle host' : 'probe or lifecycle hosts';
  return {
    reason: 'probe or lifecycle host',
    detail: `${containersText(names)} ${uses} ${word} ${quoted(all)}`,
  };
}

function privileged(pod: CheckedPod): Violation | undefined {
  const names = namesWhere(pod, ({ securityContext }) => securityContext?.privileged === true);
  if (names.length === 0) return undefined;
  return {
    reason: 'privileged',
    detail: `${containersText(names)} must not set securityContext.privileged=true`,
  };
}

/** Also of the level "restricted", where a user namespace makes no difference. */
export function procMount(pod: CheckedPod): Violation | undefined {
  const kindOf = ({ securityContext }: AnyContainer): string =>
    securityContext?.procMount ?? 'Default';
  const names = namesWhere(pod, (container) => kindOf(container) !== 'Default');
  if (names.length === 0) return undefined;
  const kinds = sortedSet(containersOf(pod).map(kindOf)).filter((kind) => kind !== 'Default');
  return {
    reason: 'procMount',
    detail: `${containersText(names)} must not set securityContext.procMount to ${quoted(kinds)}`,
  };
}

const seLinuxTypes = ['', 'container_t', 'container_init_t', 'container_kvm_t'];

function seLinuxOptions(types: readonly string[]) {
  const isBad = ({ type = '', user = '', role = '' }: SELinuxOptions = {}): boolean =>
    !types.includes(type) || user !== '' || role !== '';
  return (pod: CheckedPod): Violation | undefined => {
    const own = pod.spec.securityContext?.seLinuxOptions;
    const optionsOf = ({ securityContext }: AnyContainer) => securityContext?.seLinuxOptions;
    const names = namesWhere(pod, (container) => isBad(optionsOf(container)));
    if (!isBad(own) && names.length === 0) return undefined;
    const all = [own, ...containersOf(pod).map(optionsOf)].filter((one) => one !== undefined);
    const wrong = sortedSet(all.map(({ type = '' }) => type)).filter((one) => !types.includes(one));
    const problems = [
      ...(wrong.length === 0 ? [] : [`${wrong.length === 1 ? 'type' : 'types'} ${quoted(wrong)}`]),
      ...(all.some(({ user = '' }) => user !== '') ? ['user may not be set'] : []),
      ...(all.some(({ role = '' }) => role !== '') ? ['role may not be set'] : []),
    ];
    return {
      reason: 'seLinuxOptions',
      detail: `${settersText(isBad(own), names)} set forbidden securityContext.seLinuxOptions: ${problems.join('; ')}`,
    };
  };
}

const seccompPodAnnotation = 'seccomp.security.alpha.kubernetes.io/pod';
const seccompContainerAnnotation = 'container.seccomp.security.alpha.kubernetes.io/';

/** Before there was a field for it. */
function seccompAnnotations(pod: CheckedPod): Violation | undefined {
  const keys = [
    seccompPodAnnotation,
    ...containersOf(pod).map(({ name }) => `${seccompContainerAnnotation}${name}`),
  ];
  const isAllowed = (value: string): boolean =>
    value === 'runtime/default' || value === 'docker/default' || value.startsWith('localhost/');
  const wrong = sortedSet(
    keys.flatMap((key) => {
      const value = pod.annotations[key];
      return value === undefined || isAllowed(value) ? [] : [`${key}=${JSON.stringify(value)}`];
    }),
  );
  if (wrong.length === 0) return undefined;
  const word = wrong.length === 1 ? 'annotation' : 'annotations';
  return { reason: 'seccompProfile', detail: `forbidden ${word} ${wrong.join(', ')}` };
}

export function isSeccompProfile(type: string): boolean {
  return type === 'Localhost' || type === 'RuntimeDefault';
}

/** Also the first half of the check of the level "restricted". */
export function seccompProfile(pod: CheckedPod): Violation | undefined {
  const isBad = (type: string | undefined): type is string =>
    type !== undefined && !isSeccompProfile(type);
  const podType = pod.spec.securityContext?.seccompProfile?.type;
  const typeOf = ({ securityContext }: AnyContainer) => securityContext?.seccompProfile?.type;
  const names = namesWhere(pod, (container) => isBad(typeOf(container)));
  if (!isBad(podType) && names.length === 0) return undefined;
  const types = sortedSet([podType, ...containersOf(pod).map(typeOf)].filter(isBad));
  return {
    reason: 'seccompProfile',
    detail: `${settersText(isBad(podType), names)} must not set securityContext.seccompProfile.type to ${quoted(types)}`,
  };
}

const sysctls10 = [
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.ping_group_range',
  'net.ipv4.ip_unprivileged_port_start',
];
const sysctls27 = [...sysctls10, 'net.ipv4.ip_local_reserved_ports'];
const sysctls29 = [
  ...sysctls27,
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
];
const sysctls32 = [...sysctls29, 'net.ipv4.tcp_rmem', 'net.ipv4.tcp_wmem'];

function sysctls(allowed: readonly string[]) {
  return ({ spec }: CheckedPod): Violation | undefined => {
    const names = (spec.securityContext?.sysctls ?? [])
      .map(({ name }) => name)
      .filter((name) => !allowed.includes(name));
    if (names.length === 0) return undefined;
    return { reason: 'forbidden sysctls', detail: names.join(', ') };
  };
}

function windowsHostProcess(pod: CheckedPod): Violation | undefined {
  const isPod = pod.spec.securityContext?.windowsOptions?.hostProcess === true;
  const names = namesWhere(
    pod,
    ({ securityContext }) => securityContext?.windowsOptions?.hostProcess === true,
  );
  if (!isPod && names.length === 0) return undefined;
  return {
    reason: 'hostProcess',
    detail: `${settersText(isPod, names)} must not set securityContext.windowsOptions.hostProcess=true`,
  };
}

/** In the order in which they are told. */
export const baselineChecks: readonly Check[] = [
  { id: 'appArmorProfile', versions: [{ since: 0, check: appArmorProfile }] },
  { id: 'capabilities_baseline', versions: [{ since: 0, check: capabilities }] },
  { id: 'hostNamespaces', versions: [{ since: 0, check: hostNamespaces }] },
  { id: 'hostPathVolumes', versions: [{ since: 0, check: hostPathVolumes }] },
  { id: 'hostPorts', versions: [{ since: 0, check: hostPorts }] },
  {
    id: 'hostProbesAndHostLifecycle',
    versions: [{ since: 34, check: hostProbesAndHostLifecycle }],
  },
  { id: 'privileged', versions: [{ since: 0, check: privileged }] },
  {
    id: 'procMount',
    versions: [
      { since: 0, check: procMount },
      { since: 35, check: (pod) => (hasUserNamespace(pod) ? undefined : procMount(pod)) },
    ],
  },
  {
    id: 'seLinuxOptions',
    versions: [
      { since: 0, check: seLinuxOptions(seLinuxTypes) },
      { since: 31, check: seLinuxOptions([...seLinuxTypes, 'container_engine_t']) },
    ],
  },
  {
    id: 'seccompProfile_baseline',
    versions: [
      { since: 0, check: seccompAnnotations },
      { since: 19, check: seccompProfile },
    ],
  },
  {
    id: 'sysctls',
    versions: [
      { since: 0, check: sysctls(sysctls10) },
      { since: 27, check: sysctls(sysctls27) },
      { since: 29, check: sysctls(sysctls29) },
      { since: 32, check: sysctls(sysctls32) },
    ],
  },
  { id: 'windowsHostProcess', versions: [{ since: 0, check: windowsHostProcess }] },
];
