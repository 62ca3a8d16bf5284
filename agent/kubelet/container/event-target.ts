// What an event about a container points to: its pod, and the container as a field path.
// Source: kubernetes pkg/kubelet/container/ref.go.
import type { Container, ObjectReference, Pod } from '#kube/api/core.ts';

export function containerReference(pod: Pod, containerName: string): ObjectReference {
  const isNamed = (container: Container) => container.name === containerName;
  const { name, namespace, uid, resourceVersion } = pod.metadata;
  const list = pod.spec.initContainers?.some(isNamed) === true ? 'initContainers' : 'containers';
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    name,
    namespace,
    uid,
    resourceVersion,
    fieldPath: `spec.${list}{${containerName}}`,
  };
}
