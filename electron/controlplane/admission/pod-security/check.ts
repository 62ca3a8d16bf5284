// What the checks of the Pod Security Standards share: how they see a pod, and how they speak of what
// they find in it.
// Source: kubernetes pod-security-admission policy/{checks,helpers,visitor}.go.
import type { Container, EphemeralContainer, PodSpec } from '#kube/api/core.ts';
import type { ObjectMeta } from '#kube/api/meta.ts';

export interface CheckedPod {
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: PodSpec;
}

export interface Violation {
  /** Short, the same for all pods: `host namespaces`. */
  readonly reason: string;
  /** What of this pod: `hostNetwork=true`. */
  readonly detail: string;
}

export type CheckPod = (pod: CheckedPod) => Violation | undefined;

export interface Check {
  readonly id: string;
  /** From which minor version of Kubernetes on, in rising order. */
  readonly versions: readonly VersionedCheck[];
}

export interface VersionedCheck {
  readonly since: number;
  readonly check: CheckPod;
  /** Checks of the level below that it stands for. */
  readonly overrides?: readonly string[];
}

export type AnyContainer = Container | EphemeralContainer;

export function checkedPod(metadata: Partial<ObjectMeta> | undefined, spec: PodSpec): CheckedPod {
  return { annotations: metadata?.annotations ?? {}, spec };
}

export function containersOf({ spec }: CheckedPod): AnyContainer[] {
  return [
    ...(spec.initContainers ?? []),
    ...(spec.containers ?? []),
    ...(spec.ephemeralContainers ?? []),
  ];
}

export function namesWhere(pod: CheckedPod, isBad: (container: AnyContainer) => boolean): string[] {
  return containersOf(pod)
    .filter(isBad)
    .map(({ name }) => name);
}

/** Containers need not be limited as long as the pod runs where these limits mean nothing. */
export function isWindows({ spec }: CheckedPod): boolean {
  return spec.os?.name === 'windows';
}

/** Root in a user namespace is nobody outside of it. */
export function hasUserNamespace({ spec }: CheckedPod): boolean {
  return spec.hostUsers === false;
}

export function quoted(items: readonly string[]): string {
  return items.map((item) => `"${item}"`).join(', ');
}

export function sortedSet(items: Iterable<string>): string[] {
  return [...new Set(items)].toSorted();
}

/** `container "a"`, `containers "a", "b"`. */
export function containersText(names: readonly string[]): string {
  return `${names.length === 1 ? 'container' : 'containers'} ${quoted(names)}`;
}

/** `pod and containers "a", "b"`, as far as they do it. */
export function settersText(isPod: boolean, names: readonly string[]): string {
  return [...(isPod ? ['pod'] : []), ...(names.length > 0 ? [containersText(names)] : [])].join(
    ' and ',
  );
}
