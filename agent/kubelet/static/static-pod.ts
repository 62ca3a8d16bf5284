// Pure: a manifest of this machine's folder → a pod of this node's own, which no API server has to know
// of; and the mirror by which the API shows it.
// Source: kubernetes pkg/kubelet/config/{common,file}.go, pkg/kubelet/pod/mirror_client.go.
import { createHash } from 'node:crypto';
import type { Container, Node, Pod } from '#kube/api/core.ts';
import { isDns1123Label, isDns1123Subdomain } from '#kube/machinery/names.ts';

export const mirrorAnnotation = 'kubernetes.io/config.mirror';
const hashAnnotation = 'kubernetes.io/config.hash';
const sourceAnnotation = 'kubernetes.io/config.source';

/** What the manifest says that can't be; for a person. */
export class StaticPodError extends Error {
  override readonly name = 'StaticPodError';
}

/**
 * `file`: its name, which is part of the pod's identity, as is all it says. Throws StaticPodError.
 */
export function staticPod(manifest: unknown, file: string, nodeName: string): Pod {
  const { metadata, spec } = checked(manifest);
  const text = JSON.stringify([nodeName, file, metadata, spec]);
  const digest = createHash('sha256').update(text).digest('hex').slice(0, 32);
  const { labels, annotations, namespace } = metadata;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${metadata.name}-${nodeName}`,
      namespace: namespace ?? 'default',
      uid: digest,
      ...(labels === undefined ? {} : { labels }),
      annotations: { ...annotations, [hashAnnotation]: digest, [sourceAnnotation]: 'file' },
    },
    spec: {
      ...spec,
      nodeName,
      containers: spec.containers.map(withDefaults),
      ...(spec.initContainers && { initContainers: spec.initContainers.map(withDefaults) }),
      // As Kubernetes has it: whatever is wrong with the node, it is the node's own.
      tolerations: [...(spec.tolerations ?? []), { operator: 'Exists', effect: 'NoExecute' }],
    },
  };
}

export function isStatic({ metadata }: Pod): boolean {
  const { annotations = {}, uid = '' } = metadata;
  // Anyone can write annotations; nobody chooses a uid, and the API server's have dashes.
  const isOurs = annotations[hashAnnotation] === uid && /^[0-9a-f]{32}$/.test(uid);
  return isOurs && annotations[sourceAnnotation] === 'file';
}

/** The uid of the static pod that it shows; undefined: it is no mirror. */
export function mirroredUid({ metadata }: Pod): string | undefined {
  return metadata.annotations?.[mirrorAnnotation];
}

export function mirrorOf({ metadata, spec }: Pod, node: Node): Pod {
  const { name, namespace, uid = '', labels, annotations } = metadata;
  const owner = { apiVersion: 'v1', kind: 'Node', name: node.metadata.name, controller: true };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      ...(labels === undefined ? {} : { labels }),
      annotations: { ...annotations, [mirrorAnnotation]: uid },
      ownerReferences: [{ ...owner, uid: node.metadata.uid ?? '' }],
    },
    spec,
  };
}

/** What the API server would fill in and the kubelet relies on: what is limited is asked for. */
function withDefaults(container: Container): Container {
  const { limits, requests } = container.resources ?? {};
  if (limits === undefined) return container;
  return {
    ...container,
    resources: { ...container.resources, requests: { ...limits, ...requests } },
  };
}

function checked(manifest: unknown): Pod {
  const pod = manifest as Partial<Pod> | undefined;
  if (typeof pod !== 'object' || pod === null || pod.kind !== 'Pod' || pod.apiVersion !== 'v1')
    throw new StaticPodError('it is no Pod of apiVersion v1');
  const { metadata, spec } = pod;
  const problems = isDns1123Subdomain(metadata?.name ?? '');
  if (problems.length > 0) throw new StaticPodError(`metadata.name: ${problems.join(', ')}`);
  const containers: unknown = spec?.containers;
  if (!Array.isArray(containers) || containers.length === 0)
    throw new StaticPodError('spec.containers: it has none');
  for (const [index, container] of (containers as Partial<Container>[]).entries()) {
    const wrong = isDns1123Label(container?.name ?? '');
    if (wrong.length > 0)
      throw new StaticPodError(`spec.containers[${index}].name: ${wrong.join(', ')}`);
    if (typeof container.image !== 'string' || container.image === '')
      throw new StaticPodError(`spec.containers[${index}].image: it has none`);
  }
  const reference = apiReference(pod as Pod);
  if (reference !== undefined)
    throw new StaticPodError(`it refers to ${reference}: a static pod can't ask the API server`);
  return pod as Pod;
}

function apiReference({ spec }: Pod): string | undefined {
  if (spec.serviceAccountName !== undefined) return 'a service account';
  if ((spec.imagePullSecrets ?? []).length > 0) return 'secrets';
  const all = [...spec.containers, ...(spec.initContainers ?? [])];
  const sources = all.flatMap(({ env = [], envFrom = [] }) => [
    ...envFrom.flatMap((source) => Object.keys(source)),
    ...env.flatMap(({ valueFrom = {} }) => Object.keys(valueFrom)),
  ]);
  const volumes = (spec.volumes ?? []).flatMap((volume) => Object.keys(volume));
  const names = new Set([...sources, ...volumes]);
  if (['secretRef', 'secretKeyRef', 'secret', 'projected'].some((name) => names.has(name)))
    return 'secrets';
  if (['configMapRef', 'configMapKeyRef', 'configMap'].some((name) => names.has(name)))
    return 'configmaps';
  return names.has('persistentVolumeClaim') ? 'persistentvolumeclaims' : undefined;
}
