// Whose a Service or a ConfigMap is: what Flotilla made for an app carries two labels, and a Service
// is an app's alone when nothing else in its namespace is selected by it. Pure.
// Source of the labels: kubernetes recommended labels (app.kubernetes.io/*).
import type { ConfigMap, Pod, Service } from '#kube/api/core.ts';
import type { Labels } from '#kube/machinery/selector.ts';
import type { ObjectMeta } from '#kube/api/meta.ts';
import type { App } from './app.ts';

export const nameLabel = 'app.kubernetes.io/name';
export const managedByLabel = 'app.kubernetes.io/managed-by';
export const managedByUs = 'flotilla';

/** What else runs: everything a Service might lead to besides the app. */
export interface Neighbours {
  readonly apps: readonly App[];
  readonly pods: readonly Pod[];
}

/** Labels of every object that the Deploy form makes. */
export function ownLabels(name: string): Record<string, string> {
  return { [nameLabel]: name, [managedByLabel]: managedByUs };
}

/** Made by the Deploy form (or the Settings) for the app of this name. */
export function isMadeFor(name: string, { labels }: ObjectMeta): boolean {
  return labels?.[managedByLabel] === managedByUs && labels[nameLabel] === name;
}

/** Why a Service of the app is not the app's alone; undefined when it is. */
export function whyNotOwn(
  app: App,
  service: Service,
  { apps, pods }: Neighbours,
): string | undefined {
  const { labels, ownerReferences = [] } = service.metadata;
  const keeper = labels?.[managedByLabel];
  if (ownerReferences.length > 0) return `it belongs to ${ownerReferences[0]?.name}`;
  if (keeper !== undefined && keeper !== managedByUs) return `${keeper} looks after it`;
  const isHere = (namespace: string | undefined): boolean => namespace === app.namespace;
  const other = apps.find(
    (one) =>
      one.key !== app.key &&
      isHere(one.namespace) &&
      selects(service, one.object.spec?.template?.metadata?.labels),
  );
  if (other !== undefined) return `it leads to ${other.name} too`;
  const own = new Set(app.pods.map(({ metadata }) => metadata.name));
  const stranger = pods.find(
    ({ metadata }) =>
      isHere(metadata.namespace) && !own.has(metadata.name) && selects(service, metadata.labels),
  );
  return stranger === undefined ? undefined : `it leads to ${stranger.metadata.name} too`;
}

function selects({ spec }: Service, labels: Labels | undefined): boolean {
  const wanted = Object.entries(spec?.selector ?? {});
  return wanted.length > 0 && wanted.every(([key, value]) => labels?.[key] === value);
}

/** Why a ConfigMap that the app reads is not the app's alone; undefined when it is. */
export function whyNotOwnConfig(
  app: App,
  config: ConfigMap,
  { apps, pods }: Neighbours,
): string | undefined {
  const { name } = config.metadata;
  if (!isMadeFor(app.name, config.metadata)) return 'Flotilla did not make it for this app alone';
  const own = new Set(app.pods.map((pod) => pod.metadata.name));
  const reader =
    apps.find(
      (one) =>
        one.key !== app.key &&
        one.namespace === app.namespace &&
        reads(one.object.spec?.template?.spec, name),
    )?.name ??
    pods.find(
      ({ metadata, spec }) =>
        metadata.namespace === app.namespace && !own.has(metadata.name) && reads(spec, name),
    )?.metadata.name;
  return reader === undefined ? undefined : `${reader} reads it too`;
}

type PodSpec = NonNullable<Pod['spec']>;

/** Whether a pod of this spec reads the ConfigMap, as files or as variables. */
export function reads(spec: PodSpec | undefined, configMap: string): boolean {
  return configMapNames(spec).includes(configMap);
}

export function configMapNames(spec: PodSpec | undefined): string[] {
  if (spec === undefined) return [];
  const volumes = (spec.volumes ?? []).flatMap(({ configMap, projected }) => [
    configMap?.name,
    ...(projected?.sources ?? []).map((source) => source.configMap?.name),
  ]);
  const variables = [...spec.containers, ...(spec.initContainers ?? [])].flatMap(
    ({ env = [], envFrom = [] }) => [
      ...env.map(({ valueFrom }) => valueFrom?.configMapKeyRef?.name),
      ...envFrom.map(({ configMapRef }) => configMapRef?.name),
    ],
  );
  return [...new Set([...volumes, ...variables])].filter(
    (name): name is string => name !== undefined && name !== '',
  );
}
