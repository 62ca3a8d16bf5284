// Pure: a container's security context over its pod's, and whether its image's user agrees.
// Source: kubernetes pkg/kubelet/kuberuntime/security_context.go, pkg/securitycontext/util.go.
import type { Container, Pod, SeccompProfile, SELinuxOptions } from '#kube/api/core.ts';
import type { ContainerSecurity, ImageStatus } from '../../runtime/runtime.ts';
import { ContainerConfigError } from './environment.ts';

export interface SecurityInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly image: ImageStatus;
  /** The content of its seccomp profile, if it is one of this machine's. */
  readonly seccompProfile?: string;
}

/** Throws ContainerConfigError when the image would run as root and must not. */
export function containerSecurity(input: SecurityInput): ContainerSecurity {
  const { pod, container, image } = input;
  const own = container.securityContext ?? {};
  const ofPod = pod.spec.securityContext ?? {};
  const runAsUser = own.runAsUser ?? ofPod.runAsUser;
  const runAsGroup = own.runAsGroup ?? ofPod.runAsGroup;
  const mustNotBeRoot = own.runAsNonRoot ?? ofPod.runAsNonRoot ?? false;
  if (mustNotBeRoot) verifyNonRoot(pod, container, runAsUser, image.user);
  const fsGroup = ofPod.fsGroup === undefined ? [] : [ofPod.fsGroup];
  const appArmor = appArmorName(pod, container);
  const seccomp = seccompText(seccompOf(pod, container), input.seccompProfile);
  return {
    privileged: own.privileged ?? false,
    readOnlyRootFilesystem: own.readOnlyRootFilesystem ?? false,
    allowPrivilegeEscalation: own.allowPrivilegeEscalation ?? true,
    user: userText(runAsUser, runAsGroup, image.user),
    supplementalGroups: [...new Set([...fsGroup, ...(ofPod.supplementalGroups ?? [])])],
    addCapabilities: own.capabilities?.add ?? [],
    dropCapabilities: own.capabilities?.drop ?? [],
    unmaskedProc: own.procMount === 'Unmasked',
    seLinuxLabels: seLinuxLabels(own.seLinuxOptions ?? ofPod.seLinuxOptions),
    ...(seccomp === undefined ? {} : { seccompProfile: seccomp }),
    ...(appArmor === undefined ? {} : { appArmorProfile: appArmor }),
  };
}

export function seccompOf(pod: Pod, container: Container): SeccompProfile | undefined {
  return container.securityContext?.seccompProfile ?? pod.spec.securityContext?.seccompProfile;
}

function seccompText(
  profile: SeccompProfile | undefined,
  content: string | undefined,
): string | undefined {
  if (profile?.type === 'Unconfined') return 'unconfined';
  return profile?.type === 'Localhost' ? content : undefined;
}

/** As the engine calls it; undefined: its own default, where the kernel has AppArmor. */
function appArmorName(pod: Pod, container: Container): string | undefined {
  const profile =
    container.securityContext?.appArmorProfile ?? pod.spec.securityContext?.appArmorProfile;
  if (profile?.type === 'Unconfined') return 'unconfined';
  return profile?.type === 'Localhost' ? profile.localhostProfile : undefined;
}

function seLinuxLabels({ user, role, type, level }: SELinuxOptions = {}): string[] {
  return Object.entries({ user, role, type, level }).flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : [`${name}:${value}`],
  );
}

function userText(user: number | undefined, group: number | undefined, imageUser: string): string {
  if (user === undefined && group === undefined) return '';
  const name = user === undefined ? (imageUser.split(':')[0] ?? '') : String(user);
  return group === undefined ? name : `${name === '' ? '0' : name}:${group}`;
}

function verifyNonRoot(
  pod: Pod,
  container: Container,
  runAsUser: number | undefined,
  imageUser: string,
): void {
  const { name, namespace, uid } = pod.metadata;
  const where = `(pod: "${name}_${namespace}(${uid})", container: ${container.name})`;
  if (runAsUser !== undefined) {
    if (runAsUser !== 0) return;
    throw new ContainerConfigError(`container's runAsUser breaks non-root policy ${where}`);
  }
  const [user = ''] = imageUser.split(':');
  if (user === '' || user === '0')
    throw new ContainerConfigError(
      `container has runAsNonRoot and image will run as root ${where}`,
    );
  if (!/^\d+$/.test(user))
    throw new ContainerConfigError(
      `container has runAsNonRoot and image has non-numeric user (${user}), cannot verify user is non-root ${where}`,
    );
}
