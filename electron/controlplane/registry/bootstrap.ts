// The objects every cluster starts with: its namespaces, the two system priorities, the default class of
// storage and of Ingresses, the search for machines, and the Services by which pods find the API server and names. Pure; the composition root creates what is absent and never overwrites the rest,
// but for the Lease that says where this server is reached.
// Source: kubernetes pkg/controlplane/controller/{systemnamespaces,kubernetesservice}.
import type { Namespace, Service } from '#kube/api/core.ts';
import type { ClusterBackup } from '#kube/api/cluster-backup.ts';
import type { Discovery } from '#kube/api/fleet.ts';
import type { IngressClass, ServiceCIDR } from '#kube/api/networking.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { PriorityClass } from '#kube/api/scheduling.ts';
import type { StorageClass } from '#kube/api/storage.ts';
import { singletonBackup } from '#kube/machinery/cluster-backup.ts';
import { singletonDiscovery } from '#kube/machinery/fleet.ts';
import { ingressClassName, ingressController } from '#kube/machinery/ingress.ts';
import { localPath } from '#kube/machinery/volume-binding.ts';
import { parseCidr, serviceAddress } from './allocator.ts';
import { systemPriorities } from './strategies/cluster/classes.ts';

export interface BootstrapConfig {
  readonly serviceCidr: string;
  readonly apiServerPort: number;
}

export const systemNamespaces = [
  'default',
  'kube-system',
  'kube-public',
  'kube-node-lease',
] as const;

/** ClusterIP of the `kubernetes` Service: the first address of the range. */
export function kubernetesServiceIP(serviceCidr: string): string {
  return serviceAddress(parseCidr(serviceCidr), 1);
}

/** Where pods ask for names, by the custom of Kubernetes' installers. */
export function dnsServiceIP(serviceCidr: string): string {
  return serviceAddress(parseCidr(serviceCidr), 10);
}

/** In the order they have to be created. */
export function bootstrapObjects(config: BootstrapConfig): KubeObject[] {
  return [
    ...systemNamespaces.map(namespace),
    ...Object.entries(systemPriorities).map(priorityClass),
    defaultStorageClass,
    defaultIngressClass,
    kubernetesService(config),
    dnsService(config),
    serviceRange(config),
    homeDiscovery,
    homeBackup,
  ];
}

/** Without a sweep: nobody has agreed to one. */
const homeDiscovery: Discovery = {
  apiVersion: 'flotilla.dev/v1alpha1',
  kind: 'Discovery',
  metadata: { name: singletonDiscovery },
};

/** Of nothing, to nowhere, until a person sets a passphrase and a target. */
const homeBackup: ClusterBackup = {
  apiVersion: 'flotilla.dev/v1alpha1',
  kind: 'ClusterBackup',
  metadata: { name: singletonBackup },
};

function priorityClass([name, value]: readonly [name: string, value: number]): PriorityClass {
  return {
    apiVersion: 'scheduling.k8s.io/v1',
    kind: 'PriorityClass',
    metadata: { name },
    value,
    description:
      name === 'system-node-critical'
        ? 'For pods that a node cannot do without.'
        : 'For pods that the cluster cannot do without.',
  };
}

/**
 * Directories on the machine where the pod runs. Retain, since people delete claims without thinking of
 * data (`helm uninstall`, `kubectl delete -f`): what was written stays until a person sets the volume's
 * own policy to Delete.
 */
const defaultStorageClass: StorageClass = {
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: {
    name: localPath.className,
    annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' },
  },
  provisioner: localPath.provisioner,
  volumeBindingMode: 'WaitForFirstConsumer',
  reclaimPolicy: 'Retain',
  allowVolumeExpansion: true,
};

/** Served by the agents (agent/ingress). */
const defaultIngressClass: IngressClass = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'IngressClass',
  metadata: {
    name: ingressClassName,
    annotations: { 'ingressclass.kubernetes.io/is-default-class': 'true' },
  },
  spec: { controller: ingressController },
};

/** Tells of the range; addresses are allocated by what the server was started with. */
function serviceRange({ serviceCidr }: BootstrapConfig): ServiceCIDR {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'ServiceCIDR',
    metadata: { name: 'kubernetes' },
    spec: { cidrs: [serviceCidr] },
  };
}

function namespace(name: string): Namespace {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name }, spec: {} };
}

const serviceLabels = { component: 'apiserver', provider: 'kubernetes' };

function kubernetesService(config: BootstrapConfig): Service {
  const clusterIP = kubernetesServiceIP(config.serviceCidr);
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'kubernetes', namespace: 'default', labels: { ...serviceLabels } },
    spec: {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: config.apiServerPort }],
      sessionAffinity: 'None',
    },
  };
}

/**
 * Served by each machine's agent to its own pods, so it has no endpoints here; under the name and labels by
 * which charts and network policies know a cluster's DNS.
 */
function dnsService({ serviceCidr }: BootstrapConfig): Service {
  const clusterIP = dnsServiceIP(serviceCidr);
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: 'kube-dns',
      namespace: 'kube-system',
      labels: {
        'k8s-app': 'kube-dns',
        'kubernetes.io/cluster-service': 'true',
        'kubernetes.io/name': 'CoreDNS',
      },
    },
    spec: {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [
        { name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 },
        { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: 53 },
      ],
      sessionAffinity: 'None',
    },
  };
}
