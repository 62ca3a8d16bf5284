// The Deploy sheet's answers and the objects they mean, both ways. Pure. The form is a view of the
// YAML: what the form can't say stays in the objects, and `isFaithful` tells when it would be lost.
import type { Deployment } from '#kube/api/apps.ts';
import type {
  ConfigMap,
  Container,
  PersistentVolumeClaim,
  Service,
  Volume,
  VolumeMount,
} from '#kube/api/core.ts';
import type { ObjectMeta } from '#kube/api/meta.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { claimFor, claimNameFor } from './kept-data.ts';
import { nameLabel, ownLabels } from './ownership.ts';

export interface PortEntry {
  port: number | undefined;
  isPublished: boolean;
  /** Outside port 30000–32767; undefined lets the cluster choose. */
  nodePort: number | undefined;
}
export interface VariableEntry {
  name: string;
  value: string;
}
/** Data is in a claim, and moves with the app; a folder is one that a person knows on a machine. */
export type VolumeKind = 'data' | 'folder' | 'scratch' | 'config';
export interface VolumeEntry {
  kind: VolumeKind;
  mountPath: string;
  /** For data: the claim; '' for one that is named after the app and the folder. */
  claimName: string;
  /** For data: it is there already. */
  isExisting: boolean;
  /** For a folder: which one of the machine. */
  hostPath: string;
  /** For config: the file's name and text. */
  fileName: string;
  text: string;
}
export interface DeployForm {
  name: string;
  namespace: string;
  image: string;
  copies: number;
  ports: PortEntry[];
  variables: VariableEntry[];
  volumes: VolumeEntry[];
  /** Quantities such as `256Mi`, `500m`; '' for no limit. */
  memoryLimit: string;
  cpuLimit: string;
}

export type DeployObject = ConfigMap | Deployment | PersistentVolumeClaim | Service;

export function emptyForm(): DeployForm {
  return {
    name: '',
    namespace: 'default',
    image: '',
    copies: 1,
    ports: [{ port: undefined, isPublished: true, nodePort: undefined }],
    variables: [],
    volumes: [],
    memoryLimit: '',
    cpuLimit: '',
  };
}

export function emptyVolume(kind: VolumeKind): VolumeEntry {
  return {
    kind,
    mountPath: '',
    claimName: '',
    isExisting: false,
    hostPath: '',
    fileName: kind === 'config' ? 'config.yaml' : '',
    text: '',
  };
}

/** In the order they are to be created: what others refer to comes first. */
export function objectsOf(form: DeployForm): DeployObject[] {
  return [...configMapsOf(form), ...claimsOf(form), deploymentOf(form), ...servicesOfForm(form)];
}

/** The claim of an entry that is data. */
export function claimOf(app: string, { claimName, mountPath }: VolumeEntry): string {
  return claimName === '' ? claimNameFor(app, mountPath) : claimName;
}

export function isData({ kind }: VolumeEntry): boolean {
  return kind === 'data';
}

/** Data that an attempt made stays where the attempt is taken back, for the next one. */
export function withDataKept(form: DeployForm, made: readonly string[]): DeployForm {
  const volumes = form.volumes.map((entry) => {
    const claimName = claimOf(form.name, entry);
    return isData(entry) && made.includes(claimName)
      ? { ...entry, claimName, isExisting: true }
      : entry;
  });
  return { ...form, volumes };
}

function claimsOf({ name: app, namespace, volumes }: DeployForm): PersistentVolumeClaim[] {
  const names = volumes
    .filter((entry) => isData(entry) && !entry.isExisting)
    .map((entry) => claimOf(app, entry));
  return [...new Set(names)].map((name) => claimFor(app, { namespace, name }));
}

function metadataOf(form: DeployForm, name = form.name) {
  return { name, namespace: form.namespace, labels: ownLabels(form.name) };
}

/** What picks the app's copies. */
function labelsOf(form: DeployForm): Record<string, string> {
  return { [nameLabel]: form.name };
}

function configName(form: DeployForm): string {
  return `${form.name}-config`;
}

function configMapsOf(form: DeployForm): ConfigMap[] {
  const configs = form.volumes.filter(({ kind }) => kind === 'config');
  if (configs.length === 0) return [];
  const data = Object.fromEntries(configs.map(({ fileName, text }) => [fileName, text]));
  return [
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: metadataOf(form, configName(form)), data },
  ];
}

function deploymentOf(form: DeployForm): Deployment {
  const labels = labelsOf(form);
  const { volumes, volumeMounts } = volumesOf(form);
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: metadataOf(form),
    spec: {
      replicas: form.copies,
      selector: { matchLabels: labels },
      // Two versions of an app must not write to the same data.
      ...(form.volumes.some(isData) && { strategy: { type: 'Recreate' } }),
      template: {
        // A template is given no name.
        metadata: { labels } as unknown as ObjectMeta,
        spec: {
          containers: [{ ...containerOf(form), ...(volumeMounts.length > 0 && { volumeMounts }) }],
          ...(volumes.length > 0 && { volumes }),
        },
      },
    },
  };
}

function containerOf(form: DeployForm): Container {
  const container: Container = { name: form.name, image: form.image };
  const ports = usedPorts(form).map(({ port }) => ({ containerPort: port }));
  const env = form.variables.filter(isVariable);
  const limits: Record<string, string> = {};
  if (form.cpuLimit !== '') limits['cpu'] = form.cpuLimit;
  if (form.memoryLimit !== '') limits['memory'] = form.memoryLimit;
  if (ports.length > 0) container.ports = ports;
  if (env.length > 0) container.env = env.map(({ name, value }) => ({ name, value }));
  if (Object.keys(limits).length > 0) container.resources = { limits };
  return container;
}

function volumesOf(form: DeployForm): { volumes: Volume[]; volumeMounts: VolumeMount[] } {
  const volumes: Volume[] = [];
  const volumeMounts: VolumeMount[] = [];
  form.volumes.forEach((entry, index) => {
    const { kind, mountPath } = entry;
    if (kind === 'config') {
      if (!volumes.some(({ name }) => name === 'config'))
        volumes.push({ name: 'config', configMap: { name: configName(form) } });
      volumeMounts.push({ name: 'config', mountPath, subPath: entry.fileName });
      return;
    }
    const name = `${volumeName(kind)}-${index + 1}`;
    volumes.push({ name, ...sourceOf(form.name, entry) });
    volumeMounts.push({ name, mountPath });
  });
  return { volumes, volumeMounts };
}

/** Both sorts of data have had one name since there was one sort. */
export function volumeName(kind: VolumeKind): string {
  return kind === 'folder' ? 'data' : kind;
}

/** All but a configuration's, which several texts share. */
export function sourceOf(app: string, entry: VolumeEntry): Omit<Volume, 'name'> {
  if (entry.kind === 'scratch') return { emptyDir: {} };
  if (entry.kind === 'folder')
    return { hostPath: { path: entry.hostPath, type: 'DirectoryOrCreate' } };
  return { persistentVolumeClaim: { claimName: claimOf(app, entry) } };
}

/** Published ports get a NodePort service; others stay inside, behind a ClusterIP of their own. */
function servicesOfForm(form: DeployForm): Service[] {
  const open = usedPorts(form).filter(({ isPublished }) => isPublished);
  const inner = usedPorts(form).filter(({ isPublished }) => !isPublished);
  const services: Service[] = [];
  if (open.length > 0)
    services.push(serviceOf(form, { name: form.name, type: 'NodePort', ports: open }));
  if (inner.length > 0) {
    const name = open.length > 0 ? `${form.name}-internal` : form.name;
    services.push(serviceOf(form, { name, type: 'ClusterIP', ports: inner }));
  }
  return services;
}

interface UsedPort extends PortEntry {
  port: number;
}

function usedPorts(form: DeployForm): UsedPort[] {
  return form.ports.filter(isPort);
}

/** Others are blank rows of the form: they become nothing. */
export function isPort(entry: PortEntry): entry is UsedPort {
  return entry.port !== undefined;
}

export function isVariable({ name, value }: VariableEntry): boolean {
  return name !== '' || value !== '';
}

function serviceOf(
  form: DeployForm,
  {
    name,
    type,
    ports,
  }: { name: string; type: 'NodePort' | 'ClusterIP'; ports: readonly UsedPort[] },
): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadataOf(form, name),
    spec: {
      type,
      selector: labelsOf(form),
      ports: ports.map(({ port, nodePort }) => ({
        // Kubernetes asks for names as soon as there are two.
        ...(ports.length > 1 && { name: `port-${port}` }),
        port,
        targetPort: port,
        ...(type === 'NodePort' && nodePort !== undefined && { nodePort }),
      })),
    },
  };
}

/** The form that says the most of these objects; undefined when there is no Deployment. */
export function formOf(objects: readonly KubeObject[]): DeployForm | undefined {
  const deployment = objects.find((object): object is Deployment => object.kind === 'Deployment');
  const container = deployment?.spec?.template?.spec?.containers?.[0];
  if (deployment === undefined || container === undefined) return undefined;
  const services = objects.filter((object): object is Service => object.kind === 'Service');
  const claims = objects
    .filter(({ kind }) => kind === 'PersistentVolumeClaim')
    .map(({ metadata }) => metadata.name);
  const configs = objects.filter((object): object is ConfigMap => object.kind === 'ConfigMap');
  return {
    name: deployment.metadata.name,
    namespace: deployment.metadata.namespace ?? 'default',
    image: container.image ?? '',
    copies: deployment.spec.replicas ?? 1,
    ports: portsFrom(container, services),
    variables: (container.env ?? []).map(({ name, value = '' }) => ({ name, value })),
    volumes: volumesFrom(deployment, container, { configs, claims }),
    memoryLimit: String(container.resources?.limits?.['memory'] ?? ''),
    cpuLimit: String(container.resources?.limits?.['cpu'] ?? ''),
  };
}

function portsFrom(container: Container, services: readonly Service[]): PortEntry[] {
  return (container.ports ?? []).map(({ containerPort }) => {
    const published = services
      .filter(({ spec }) => spec?.type === 'NodePort')
      .flatMap(({ spec }) => spec?.ports ?? [])
      .find(({ port, targetPort }) => (targetPort ?? port) === containerPort);
    return {
      port: containerPort,
      isPublished: published !== undefined,
      nodePort: published?.nodePort,
    };
  });
}

function volumesFrom(
  deployment: Deployment,
  container: Container,
  {
    configs,
    claims,
  }: { readonly configs: readonly ConfigMap[]; readonly claims: readonly string[] },
): VolumeEntry[] {
  const app = deployment.metadata.name;
  const volumes = deployment.spec.template.spec?.volumes ?? [];
  return (container.volumeMounts ?? []).flatMap((mount): VolumeEntry[] => {
    const volume = volumes.find(({ name }) => name === mount.name);
    const { mountPath } = mount;
    if (volume?.hostPath !== undefined)
      return [{ ...emptyVolume('folder'), mountPath, hostPath: volume.hostPath.path }];
    if (volume?.persistentVolumeClaim !== undefined) {
      const { claimName: name } = volume.persistentVolumeClaim;
      const isExisting = !claims.includes(name);
      const isNamedByPath = !isExisting && name === claimNameFor(app, mountPath);
      const claimName = isNamedByPath ? '' : name;
      return [{ ...emptyVolume('data'), mountPath, claimName, isExisting }];
    }
    if (volume?.emptyDir !== undefined) return [{ ...emptyVolume('scratch'), mountPath }];
    if (volume?.configMap === undefined || mount.subPath === undefined) return [];
    const config = configs.find(({ metadata }) => metadata.name === volume.configMap?.name);
    const text = config?.data?.[mount.subPath] ?? '';
    return [{ ...emptyVolume('config'), mountPath, fileName: mount.subPath, text }];
  });
}
