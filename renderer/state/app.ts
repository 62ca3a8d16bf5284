// An app: a Deployment, DaemonSet or ReplicationController that nothing else owns, outside the
// system's own namespaces, with its pods and services gathered by selector. Pure joins over lists.
import type { DaemonSet, Deployment } from '#kube/api/apps.ts';
import type { Event, Node, Pod, ReplicationController, Service } from '#kube/api/core.ts';
import { labelSelectorMatcher } from '#kube/machinery/selector.ts';
import { appState } from './app-state.ts';
import { goneLast } from './copy-state.ts';
import type { StateView } from './vocabulary.ts';
import {
  type Workload,
  type WorkloadKind,
  desiredCopies,
  mainContainer,
  readyCopies,
  selectorOf,
  servicesOf,
} from './workload.ts';

export interface AppAddress {
  /** What a browser here opens. */
  readonly url: string;
  readonly port: number;
}

export interface App {
  /** `Deployment/default/jellyfin`: unique, stable, also the route. */
  readonly key: string;
  readonly kind: WorkloadKind;
  readonly namespace: string;
  readonly name: string;
  readonly object: Workload;
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  readonly state: StateView;
  readonly desiredCopies: number;
  readonly readyCopies: number;
  readonly image: string;
  readonly address: AppAddress | undefined;
}

export interface AppSources {
  readonly deployments: readonly Deployment[];
  readonly daemonSets: readonly DaemonSet[];
  readonly replicationControllers: readonly ReplicationController[];
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  readonly events: readonly Event[];
  readonly nodes: readonly Node[];
  /** Where node ports answer for this browser. */
  readonly host: string;
}

export const systemNamespaces: ReadonlySet<string> = new Set([
  'kube-system',
  'kube-public',
  'kube-node-lease',
]);

/** Sorted by name; those in the system's namespaces and those owned by others are left out. */
export function listApps(sources: AppSources): App[] {
  const workloads: Workload[] = [
    ...sources.deployments,
    ...sources.daemonSets,
    ...sources.replicationControllers,
  ].filter(isApp);
  const podsByLabel = labelIndex(sources.pods);
  const servicesBySpace = Map.groupBy(sources.services, ({ metadata }) => metadata.namespace ?? '');
  const eventsBySpace = Map.groupBy(sources.events, ({ metadata }) => metadata.namespace ?? '');
  return workloads
    .map((workload) => {
      const namespace = workload.metadata.namespace ?? '';
      return describeApp(workload, {
        ...sources,
        pods: candidates(workload, namespace, podsByLabel, sources.pods),
        services: servicesBySpace.get(namespace) ?? [],
        events: eventsBySpace.get(namespace) ?? [],
      });
    })
    .sort((a, b) => a.name.localeCompare(b.name) || a.key.localeCompare(b.key));
}

/** Pods by namespace and each of their labels: 200 apps must not look at 5,000 pods each. */
function labelIndex(pods: readonly Pod[]): ReadonlyMap<string, readonly Pod[]> {
  const index = new Map<string, Pod[]>();
  for (const pod of pods)
    for (const [key, value] of Object.entries(pod.metadata.labels ?? {})) {
      const entry = `${pod.metadata.namespace ?? ''} ${key}=${value}`;
      const known = index.get(entry);
      if (known === undefined) index.set(entry, [pod]);
      else known.push(pod);
    }
  return index;
}

/** All pods of its namespace that its selector could pick, by one label that it asks for. */
function candidates(
  workload: Workload,
  namespace: string,
  index: ReadonlyMap<string, readonly Pod[]>,
  all: readonly Pod[],
): readonly Pod[] {
  const [asked] = Object.entries(selectorOf(workload).matchLabels ?? {});
  if (asked !== undefined) return index.get(`${namespace} ${asked[0]}=${asked[1]}`) ?? [];
  return all.filter(({ metadata }) => (metadata.namespace ?? '') === namespace);
}

export function isApp(workload: Workload): boolean {
  const { namespace = '', ownerReferences = [] } = workload.metadata;
  return (
    !systemNamespaces.has(namespace) &&
    !ownerReferences.some(({ controller }) => controller === true)
  );
}

export function appKey(kind: string, namespace: string, name: string): string {
  return `${kind}/${namespace}/${name}`;
}

function describeApp(workload: Workload, sources: AppSources): App {
  const { namespace = '', name } = workload.metadata;
  const matcher = labelSelectorMatcher(selectorOf(workload));
  const pods = goneLast(sources.pods.filter(({ metadata }) => matcher.matches(metadata.labels)));
  const services = servicesOf(workload, sources.services);
  return {
    key: appKey(workload.kind, namespace, name),
    kind: workload.kind,
    namespace,
    name,
    object: workload,
    pods,
    services,
    state: appState(workload, pods, sources),
    desiredCopies: desiredCopies(workload),
    readyCopies: readyCopies(workload),
    image: mainContainer(workload)?.image ?? '',
    address: addressOf(services, sources.host),
  };
}

function addressOf(services: readonly Service[], host: string): AppAddress | undefined {
  for (const { spec } of services) {
    const port = spec?.ports?.find(
      ({ nodePort, protocol }) => nodePort !== undefined && nodePort > 0 && protocol !== 'UDP',
    );
    if (port?.nodePort === undefined) continue;
    const scheme = port.port === 443 || port.name === 'https' ? 'https' : 'http';
    return { url: `${scheme}://${host}:${port.nodePort}`, port: port.nodePort };
  }
  return undefined;
}
