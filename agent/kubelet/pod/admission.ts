// Pure: whether this node takes a pod that was bound to it, before anything of it is started. What it
// can't be is told as its failure, in Kubernetes' reasons; who owns it makes another elsewhere.
// Source: kubernetes pkg/kubelet/lifecycle/{predicate,admission_failure_handler_stub}.go, pkg/kubelet/sysctl/
// allowlist.go, pkg/security/apparmor/validate.go, pkg/kubelet/cm/devicemanager/manager.go.
import type { Node, Pod } from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import { matchesRequired } from '#kube/machinery/node-selector.ts';
import { amountsOf, podRequests } from '#kube/machinery/pod-resources.ts';
import { isDeviceName, type Device } from '../devices/devices.ts';
import { withGiven } from './pod-resize.ts';
import type { PodFailure } from './pod-status.ts';

export interface AdmissionInput {
  readonly pod: Pod;
  /** Those that have been taken, and are not over. */
  readonly others: readonly Pod[];
  readonly allocatable: Readonly<Record<string, Quantity>>;
  readonly devices: readonly Device[];
  readonly maxPods: number;
  readonly hasAppArmor: boolean;
  /** This node; undefined: not known yet. */
  readonly self: Node | undefined;
}

interface Refusal {
  readonly reason: string;
  readonly message: string;
}

/** Undefined: it is taken. */
export function admissionFailure(input: AdmissionInput): PodFailure | undefined {
  const refusal =
    placeRefusal(input) ??
    securityRefusal(input) ??
    sysctlRefusal(input.pod) ??
    roomRefusal(input) ??
    deviceRefusal(input);
  if (refusal === undefined) return undefined;
  const { reason, message } = refusal;
  return {
    reason,
    message: `Pod was rejected: ${message}`,
    isDisruption: false,
    isRejection: true,
  };
}

/** Of a pod that named its node itself nobody asked whether it may be there. */
function placeRefusal({ pod: { spec }, self }: AdmissionInput): Refusal | undefined {
  if (spec.os !== undefined && spec.os.name !== 'linux')
    return {
      reason: 'PodOSNotSupported',
      message: "Failed to admit pod as the OS field doesn't match node OS",
    };
  if (self === undefined || matchesRequired(spec, self)) return undefined;
  return { reason: 'NodeAffinity', message: 'Predicate NodeAffinity failed' };
}

function securityRefusal({ pod, hasAppArmor }: AdmissionInput): Refusal | undefined {
  const { spec } = pod;
  if (spec.securityContext?.supplementalGroupsPolicy === 'Strict')
    return {
      reason: 'SupplementalGroupsPolicyNotSupported',
      message: 'SupplementalGroupsPolicy=Strict is not supported in this node',
    };
  const all = [...spec.containers, ...(spec.initContainers ?? [])];
  const profiles = [spec, ...all].map(({ securityContext }) => securityContext?.appArmorProfile);
  const needsAppArmor = profiles.some(({ type = 'Unconfined' } = { type: '' }) =>
    ['RuntimeDefault', 'Localhost'].includes(type),
  );
  if (!needsAppArmor || hasAppArmor) return undefined;
  const message = 'Cannot enforce AppArmor: AppArmor is not enabled on the host';
  return { reason: 'AppArmor', message };
}

/** Those that the kernel keeps apart for each pod, and of what. */
const namespacedSysctls: readonly (readonly [prefix: string, 'ipc' | 'network' | 'uts'])[] = [
  ['kernel.shm', 'ipc'],
  ['kernel.msg', 'ipc'],
  ['kernel.sem', 'ipc'],
  ['fs.mqueue.', 'ipc'],
  ['net.', 'network'],
];

// Differs: what the kernel keeps apart is allowed without a flag; it reaches nobody else, and a home
// has nobody who could set the flag but who writes the pod.
function sysctlRefusal({ spec }: Pod): Refusal | undefined {
  for (const { name } of spec.securityContext?.sysctls ?? []) {
    const dotted = name.replaceAll('/', '.');
    const namespace = namespacedSysctls.find(([prefix]) => dotted.startsWith(prefix))?.[1];
    const isShared =
      namespace === undefined ||
      (namespace === 'network' && spec.hostNetwork === true) ||
      (namespace === 'ipc' && spec.hostIPC === true);
    if (!isShared) continue;
    const why =
      namespace === undefined ? 'not allowlisted' : `not allowed with host ${namespace} enabled`;
    return { reason: 'SysctlForbidden', message: `forbidden sysctl: "${name}" ${why}` };
  }
  return undefined;
}

function roomRefusal({ pod, others, allocatable, maxPods }: AdmissionInput): Refusal | undefined {
  const capacity = amountsOf(allocatable);
  const wanted = podRequests(pod.spec);
  // What a resize asks for is nobody's before it is given.
  const used = others.map((other) => podRequests(withGiven(other).spec));
  const rows = [
    { name: 'pods', requested: 1, taken: others.length, room: maxPods },
    ...['cpu', 'memory'].map((name) => ({
      name,
      requested: wanted[name] ?? 0,
      taken: used.reduce((sum, amounts) => sum + (amounts[name] ?? 0), 0),
      room: capacity[name],
    })),
    // Differs: no machine here sets huge pages aside.
    ...Object.keys(wanted)
      .filter((name) => name.startsWith('hugepages-'))
      .map((name) => ({ name, requested: wanted[name] ?? 0, taken: 0, room: 0 })),
  ];
  for (const { name, requested, taken, room } of rows)
    if (room !== undefined && requested > 0 && requested + taken > room) {
      const message = `Node didn't have enough resource: ${name}, requested: ${requested}, used: ${taken}, capacity: ${room}`;
      return { reason: `OutOf${name}`, message };
    }
  return undefined;
}

function deviceRefusal({ pod, others, devices }: AdmissionInput): Refusal | undefined {
  const wanted = Object.entries(podRequests(pod.spec)).filter(
    ([name, count]) => isDeviceName(name) && count > 0,
  );
  for (const [name, count] of wanted) {
    const device = devices.find(({ resource }) => resource === name);
    const taken = others.reduce((sum, other) => sum + (podRequests(other.spec)[name] ?? 0), 0);
    const free = (device?.count ?? 0) - taken;
    if (device !== undefined && count <= free) continue;
    const why =
      device === undefined
        ? `no healthy devices present; cannot allocate unhealthy devices ${name} (it is not plugged in to this machine)`
        : `requested number of devices unavailable for ${name}. Requested: ${count}, Available: ${free} (${device.label} is in use by another pod)`;
    const message = `Allocate failed due to ${why}, which is unexpected`;
    return { reason: 'UnexpectedAdmissionError', message };
  }
  return undefined;
}
