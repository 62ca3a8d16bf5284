// What Kubernetes writes into a pod's spec when the author left it out. Templates get all of it
// but what only makes sense in a running pod. Idempotent: also runs on what storage gives.
// Source: kubernetes pkg/apis/core/v1/{defaults,conversion}.go, pkg/util/parsers.
import type {
  Container,
  DownwardAPIVolumeFile,
  EphemeralContainer,
  HTTPGetAction,
  ObjectFieldSelector,
  Pod,
  PodSpec,
  PodTemplateSpec,
  Probe,
  ResourceFieldSelector,
  ResourceRequirements,
  Volume,
  VolumeProjection,
} from '#kube/api/core.ts';
import { canonicalOrSame, canonicalize } from '../quantities.ts';

/** Octal 0644. */
const defaultFileMode = 420;

export function applyPodDefaults(pod: Pod): void {
  // Admission reads them before anything is validated.
  const spec = (pod.spec ??= { containers: [] });
  spec.containers ??= [];
  applyPodSpecDefaults(spec);
  for (const container of [...spec.containers, ...(spec.initContainers ?? [])]) {
    requestWhatIsLimited(container.resources);
    if (spec.hostNetwork === true)
      for (const port of container.ports ?? []) port.hostPort ||= port.containerPort;
  }
  spec.enableServiceLinks ??= true;
}

export function applyTemplateDefaults(template: PodTemplateSpec | undefined): void {
  if (template?.spec !== undefined) applyPodSpecDefaults(template.spec);
}

function applyPodSpecDefaults(spec: PodSpec): void {
  spec.dnsPolicy ||= 'ClusterFirst';
  spec.restartPolicy ||= 'Always';
  spec.securityContext ??= {};
  spec.terminationGracePeriodSeconds ??= 30;
  spec.schedulerName ||= 'default-scheduler';
  // Two names of one field: the deprecated one always follows.
  const account = spec.serviceAccountName || spec.serviceAccount;
  if (account !== undefined && spec.serviceAccountName !== account)
    spec.serviceAccountName = account;
  if (account !== undefined && spec.serviceAccount !== account) spec.serviceAccount = account;
  const { preferredDuringSchedulingIgnoredDuringExecution: preferred = [] } =
    spec.affinity?.nodeAffinity ?? {};
  for (const term of preferred) term.preference ??= {};
  canonicalize(spec.overhead);
  canonicalizeResources(spec.resources);
  for (const volume of spec.volumes ?? []) applyVolumeDefaults(volume);
  for (const container of spec.initContainers ?? []) applyContainerDefaults(container);
  for (const container of spec.containers ?? []) applyContainerDefaults(container);
  for (const container of spec.ephemeralContainers ?? []) applyContainerDefaults(container);
}

function applyContainerDefaults(container: Container | EphemeralContainer): void {
  container.imagePullPolicy ||= defaultPullPolicy(container.image);
  container.terminationMessagePath ||= '/dev/termination-log';
  container.terminationMessagePolicy ||= 'File';
  container.resources ??= {};
  canonicalizeResources(container.resources);
  for (const port of container.ports ?? []) port.protocol ||= 'TCP';
  for (const { valueFrom } of container.env ?? []) {
    applyFieldDefaults(valueFrom?.fieldRef);
    applyResourceFieldDefaults(valueFrom?.resourceFieldRef);
  }
  applyProbeDefaults(container.livenessProbe);
  applyProbeDefaults(container.readinessProbe);
  applyProbeDefaults(container.startupProbe);
  applyHttpGetDefaults(container.lifecycle?.postStart?.httpGet);
  applyHttpGetDefaults(container.lifecycle?.preStop?.httpGet);
}

function applyProbeDefaults(probe: Probe | undefined): void {
  if (probe === undefined) return;
  probe.timeoutSeconds ||= 1;
  probe.periodSeconds ||= 10;
  probe.successThreshold ||= 1;
  probe.failureThreshold ||= 3;
  if (probe.grpc !== undefined) probe.grpc.service ??= '';
  applyHttpGetDefaults(probe.httpGet);
}

function applyHttpGetDefaults(action: HTTPGetAction | undefined): void {
  if (action === undefined) return;
  action.path ||= '/';
  action.scheme ||= 'HTTP';
}

function applyFieldDefaults(selector: ObjectFieldSelector | undefined): void {
  if (selector !== undefined) selector.apiVersion ||= 'v1';
}

function applyResourceFieldDefaults(selector: ResourceFieldSelector | undefined): void {
  if (selector === undefined) return;
  const divisor = canonicalOrSame(selector.divisor ?? '0');
  if (selector.divisor !== divisor) selector.divisor = divisor;
}

function applyVolumeDefaults(volume: Volume): void {
  const { name: _name, ...sources } = volume;
  if (Object.values(sources).every((source) => source === undefined)) volume.emptyDir = {};
  const { emptyDir, secret, configMap, downwardAPI, projected, hostPath, image } = volume;
  if (emptyDir?.sizeLimit !== undefined) {
    const sizeLimit = canonicalOrSame(emptyDir.sizeLimit);
    if (sizeLimit !== emptyDir.sizeLimit) emptyDir.sizeLimit = sizeLimit;
  }
  if (secret !== undefined) secret.defaultMode ??= defaultFileMode;
  if (configMap !== undefined) configMap.defaultMode ??= defaultFileMode;
  if (hostPath !== undefined) hostPath.type ??= '';
  if (image !== undefined) image.pullPolicy ||= defaultPullPolicy(image.reference);
  if (downwardAPI !== undefined) {
    downwardAPI.defaultMode ??= defaultFileMode;
    applyDownwardDefaults(downwardAPI.items);
  }
  if (projected !== undefined) {
    projected.defaultMode ??= defaultFileMode;
    for (const source of projected.sources ?? []) applyProjectionDefaults(source);
  }
}

function applyProjectionDefaults({ downwardAPI, serviceAccountToken }: VolumeProjection): void {
  applyDownwardDefaults(downwardAPI?.items);
  if (serviceAccountToken !== undefined) serviceAccountToken.expirationSeconds ??= 3600;
}

function applyDownwardDefaults(files: readonly DownwardAPIVolumeFile[] | undefined): void {
  for (const file of files ?? []) {
    applyFieldDefaults(file.fieldRef);
    applyResourceFieldDefaults(file.resourceFieldRef);
  }
}

function requestWhatIsLimited(resources: ResourceRequirements | undefined): void {
  const { limits = {}, requests = {} } = resources ?? {};
  const isMissing = Object.keys(limits).some((name) => !Object.hasOwn(requests, name));
  if (resources !== undefined && isMissing) resources.requests = { ...limits, ...requests };
}

function canonicalizeResources(resources: ResourceRequirements | undefined): void {
  canonicalize(resources?.limits);
  canonicalize(resources?.requests);
}

/** Always for `latest`, which is also what an image without tag and digest means. */
function defaultPullPolicy(image: string | undefined): string {
  return imageTag(image ?? '') === 'latest' ? 'Always' : 'IfNotPresent';
}

/** '' when the image is pinned by a digest alone, or is no image name at all. */
function imageTag(image: string): string {
  const [reference = '', digest] = image.split('@');
  const parts = /^([^/]+\/)*[a-z0-9][a-z0-9._-]*(:(?<tag>[\w][\w.-]*))?$/.exec(reference);
  if (parts === null) return '';
  return parts.groups?.['tag'] ?? (digest === undefined ? 'latest' : '');
}
