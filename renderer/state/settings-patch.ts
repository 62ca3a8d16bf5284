// A change of settings as a JSON merge patch of the workload: only what the form can say changes,
// everything else of the object stays as it is. Pure.
import type {
  ConfigMap,
  Container,
  ContainerPort,
  EnvVar,
  ResourceRequirements,
} from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import type { DeployForm } from './deploy-form.ts';
import { configWrite, mustPause, storagePatch } from './settings-storage.ts';
import type { Workload } from './workload.ts';

export interface PatchSources {
  /** Those of the app's namespace. */
  readonly configMaps: readonly ConfigMap[];
  /** Texts that are mounted as single files reach an app only when its copies are replaced. */
  readonly nowMs: number;
}

/** Carries resourceVersion, as lists are replaced whole: a stale page must not undo another's work. */
export function settingsPatch(
  workload: Workload,
  form: DeployForm,
  { configMaps, nowMs }: PatchSources,
): object {
  const old = workload.spec?.template?.spec?.containers ?? [];
  const [main, ...others] = old;
  const storage = storagePatch(workload, form.volumes, configMaps);
  const volumeMounts = storage?.volumeMounts;
  const containers =
    main === undefined
      ? []
      : [
          {
            ...changedContainer(main, form),
            ...(volumeMounts !== undefined && { volumeMounts: [...volumeMounts] }),
          },
          ...others,
        ];
  const isNewTemplate = JSON.stringify(containers) !== JSON.stringify(old);
  const isNewText = configWrite(workload, form.volumes, configMaps) !== undefined;
  const annotations = { 'kubectl.kubernetes.io/restartedAt': new Date(nowMs).toISOString() };
  const podSpec = {
    ...(isNewTemplate && { containers }),
    ...(storage !== undefined && { volumes: storage.volumes }),
  };
  const template = {
    ...(isNewText && !isNewTemplate && { metadata: { annotations } }),
    ...(isNewTemplate && { spec: podSpec }),
  };
  return {
    metadata: { resourceVersion: workload.metadata.resourceVersion },
    spec: {
      ...(workload.kind !== 'DaemonSet' && { replicas: form.copies }),
      ...(mustPause(workload, form.volumes) && {
        strategy: { type: 'Recreate', rollingUpdate: null },
      }),
      ...(Object.keys(template).length > 0 && { template }),
    },
  };
}

/** Keeps the order of fields, so that no change reads as none. */
function changedContainer(container: Container, form: DeployForm): Container {
  const changed: Container = { ...container, image: form.image };
  const env = changedVariables(container.env ?? [], form);
  if (env.length > 0) changed.env = env;
  else delete changed.env;
  const resources = changedResources(container, form);
  const ports = changedPorts(container.ports ?? [], form);
  if (ports.length > 0) changed.ports = ports;
  else delete changed.ports;
  if (Object.keys(resources).length > 0 || container.resources !== undefined)
    changed.resources = resources;
  return changed;
}

/** Ports that stay keep their names and protocols. */
function changedPorts(old: readonly ContainerPort[], form: DeployForm): ContainerPort[] {
  const wanted = new Set(form.ports.map(({ port }) => port));
  const kept = old.filter(({ containerPort }) => wanted.has(containerPort));
  const known = new Set(old.map(({ containerPort }) => containerPort));
  const added = [...wanted].filter((port) => port !== undefined && !known.has(port));
  return [...kept, ...added.map((containerPort) => ({ containerPort: containerPort ?? 0 }))];
}

function changedResources(container: Container, form: DeployForm): ResourceRequirements {
  const {
    limits: oldLimits = {},
    requests: oldRequests = {},
    ...others
  } = container.resources ?? {};
  const limits = withLimits(oldLimits, form);
  // Requests that defaults copied from the old limits would now contradict the new ones.
  const requests = { ...oldRequests };
  for (const name of ['cpu', 'memory'] as const)
    if (
      requests[name] !== undefined &&
      requests[name] === oldLimits[name] &&
      limits[name] !== oldLimits[name]
    )
      delete requests[name];
  return {
    ...others,
    ...(Object.keys(limits).length > 0 && { limits }),
    ...(Object.keys(requests).length > 0 && { requests }),
  };
}

function withLimits(
  old: Readonly<Record<string, Quantity>>,
  form: DeployForm,
): Record<string, Quantity> {
  const limits: Record<string, Quantity> = { ...old };
  for (const [name, limit] of [
    ['cpu', form.cpuLimit],
    ['memory', form.memoryLimit],
  ] as const)
    if (limit === '') delete limits[name];
    else limits[name] = limit;
  return limits;
}

/** Variables that come from elsewhere (a Secret, a field) keep their source unless they got a value. */
function changedVariables(old: readonly EnvVar[], form: DeployForm): EnvVar[] {
  return form.variables
    .filter(({ name, value }) => name !== '' || value !== '')
    .map(({ name, value }) => {
      const before = old.find((variable) => variable.name === name);
      return value === '' && before?.valueFrom !== undefined ? { ...before } : { name, value };
    });
}
