// Pure: a container's security context over its pod's, and whether its image's user agrees.
// Source: kubernetes pkg/kubelet/kuberuntime/security_context.go, pkg/securitycontext/util.go.
import type { Container, Pod } from '#kube/api/core.ts';
import type { ContainerSecurity, ImageStatus } from '../../runtime/runtime.ts';
import { ContainerConfigError } from './environment.ts';

/** Throws ContainerConfigError when the image would run as root and must not. */
export function containerSecurity(
  pod: Pod,
  container: Container,
  image: ImageStatus,
): ContainerSecurity {
  const own = container.securityContext ?? {};
  const ofPod = pod.spec.securityContext ?? {};
  const runAsUser = own.runAsUser ?? ofPod.runAsUser;
  const runAsGroup = own.runAsGroup ?? ofPod.runAsGroup;
  const mustNotBeRoot = own.runAsNonRoot ?? ofPod.runAsNonRoot ?? false;
  if (mustNotBeRoot) verifyNonRoot(pod, container, runAsUser, image.user);
  const fsGroup = ofPod.fsGroup === undefined ? [] : [ofPod.fsGroup];
  const profile = own.seccompProfile ?? ofPod.seccompProfile;
  return {
    privileged: own.privileged ?? false,
    readOnlyRootFilesystem: own.readOnlyRootFilesystem ?? false,
    allowPrivilegeEscalation: own.allowPrivilegeEscalation ?? true,
    user: userText(runAsUser, runAsGroup, image.user),
    supplementalGroups: [...new Set([...fsGroup, ...(ofPod.supplementalGroups ?? [])])],
    addCapabilities: own.capabilities?.add ?? [],
    dropCapabilities: own.capabilities?.drop ?? [],
    seccompUnconfined: profile?.type === 'Unconfined',
  };
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
