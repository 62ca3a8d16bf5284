// A home for the fake cluster: machines and apps in every state the user interface has a word for.
import type { FakeKind, FakeObject } from './fake-cluster.ts';

export const fakeKinds: readonly FakeKind[] = [
  ...(
    [
      'PersistentVolumeClaim',
      'Pod',
      'Service',
      'ConfigMap',
      'Event',
      'ReplicationController',
      'Secret',
      'ServiceAccount',
    ] as const
  ).map((kind) => ({
    apiVersion: 'v1',
    kind,
    resource: `${kind.toLowerCase()}s`,
    namespaced: true,
  })),
  { apiVersion: 'v1', kind: 'Namespace', resource: 'namespaces', namespaced: false },
  {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    resource: 'persistentvolumes',
    namespaced: false,
  },
  { apiVersion: 'v1', kind: 'Node', resource: 'nodes', namespaced: false },
  ...(['Deployment', 'DaemonSet', 'ReplicaSet'] as const).map((kind) => ({
    apiVersion: 'apps/v1',
    kind,
    resource: `${kind.toLowerCase()}s`,
    namespaced: true,
  })),
  {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'Discovery',
    resource: 'discoveries',
    namespaced: false,
  },
  {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'Machine',
    resource: 'machines',
    namespaced: false,
  },
  {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'VolumeMove',
    resource: 'volumemoves',
    namespaced: true,
  },
  {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'ClusterBackup',
    resource: 'clusterbackups',
    namespaced: false,
  },
  { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', resource: 'leases', namespaced: true },
  {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    resource: 'endpointslices',
    namespaced: true,
  },
  { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', resource: 'ingresses', namespaced: true },
];

const minute = 60_000;
function ago(minutes: number): string {
  return new Date(Date.now() - minutes * minute).toISOString();
}

interface NodeOptions {
  readonly architecture?: string;
  readonly cpu: number;
  readonly memoryGi: number;
  readonly ready?: { status: string; reason: string; message: string };
  readonly annotations?: Record<string, string>;
  readonly isAsleep?: boolean;
  readonly osImage?: string;
}

export function fakeNode(name: string, options: NodeOptions): FakeObject {
  const { architecture = 'amd64', cpu, memoryGi, annotations = {} } = options;
  const ready = options.ready ?? {
    status: 'True',
    reason: 'KubeletReady',
    message: 'kubelet is posting ready status',
  };
  const pressure = ['MemoryPressure', 'DiskPressure', 'PIDPressure'].map((type) => ({
    type,
    status: 'False',
    reason: `No${type}`,
    message: 'enough',
  }));
  const isAsleep = options.isAsleep === true;
  const asleep = isAsleep ? [{ type: 'Asleep', status: 'True', reason: 'PutToSleep' }] : [];
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, annotations, creationTimestamp: ago(9000) },
    spec: {},
    status: {
      capacity: {
        cpu: String(cpu),
        memory: `${memoryGi}Gi`,
        'ephemeral-storage': '220Gi',
        pods: '110',
      },
      addresses: [{ type: 'InternalIP', address: '192.168.1.20' }],
      conditions: [...pressure, ...asleep, { type: 'Ready', ...ready }],
      nodeInfo: {
        architecture,
        osImage: options.osImage ?? 'Debian GNU/Linux 12 (bookworm)',
        kernelVersion: '6.1.0-28',
        containerRuntimeVersion: 'docker://29.1.0',
        kubeletVersion: 'v1.35.0',
        operatingSystem: 'linux',
      },
    },
  };
}

interface AppOptions {
  readonly image: string;
  readonly copies?: number;
  readonly node?: string;
  readonly nodePort?: number;
  readonly state?: 'running' | 'pulling' | 'image' | 'crash' | 'waiting' | 'asleep';
  readonly memory?: string;
  readonly data?: string;
}

/** A Deployment with its ReplicaSet, pods, service and events. */
export function fakeApp(name: string, options: AppOptions): FakeObject[] {
  const { image, copies = 1, state = 'running', node = 'nuc' } = options;
  const replicas = state === 'asleep' ? 0 : copies;
  const ready = state === 'running' ? replicas : 0;
  const template = {
    metadata: { labels: { app: name } },
    spec: {
      containers: [
        {
          name,
          image,
          ports: [{ containerPort: 8080 }],
          ...(options.memory !== undefined && {
            resources: { limits: { memory: options.memory } },
          }),
          ...(options.data !== undefined && {
            volumeMounts: [{ name: 'data', mountPath: '/data' }],
          }),
          env: [{ name: 'TZ', value: 'Europe/Berlin' }],
        },
      ],
      ...(options.data !== undefined && {
        volumes: [{ name: 'data', hostPath: { path: options.data } }],
      }),
    },
  };
  const spec = { replicas, selector: { matchLabels: { app: name } }, template };
  const status = {
    observedGeneration: 1,
    replicas,
    readyReplicas: ready,
    updatedReplicas: replicas,
    availableReplicas: ready,
  };
  const revision = { 'deployment.kubernetes.io/revision': '2' };
  const deployment: FakeObject = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      name,
      namespace: 'default',
      uid: `deploy-${name}`,
      generation: 1,
      annotations: revision,
      creationTimestamp: ago(3000),
    },
    spec,
    status,
  };
  const set: FakeObject = {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${name}-7d9f8c6b5f`,
      namespace: 'default',
      uid: `rs-${name}`,
      annotations: revision,
      creationTimestamp: ago(3000),
      ownerReferences: [owner('Deployment', name, `deploy-${name}`)],
    },
    spec,
    status,
  };
  const service: FakeObject = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default' },
    spec: {
      type: options.nodePort === undefined ? 'ClusterIP' : 'NodePort',
      clusterIP: '10.96.3.7',
      selector: { app: name },
      ports: [
        {
          port: 8080,
          targetPort: 8080,
          ...(options.nodePort !== undefined && { nodePort: options.nodePort }),
        },
      ],
    },
  };
  const pods = Array.from({ length: replicas }, (_, index) =>
    fakePod(name, index, { image, state, node }),
  );
  const first: FakeObject = {
    ...set,
    metadata: {
      ...set.metadata,
      name: `${name}-5b6c7d8e9f`,
      uid: `rs-${name}-1`,
      annotations: { 'deployment.kubernetes.io/revision': '1' },
    },
    spec: {
      ...spec,
      replicas: 0,
      template: {
        ...template,
        spec: {
          ...template.spec,
          containers: [{ ...template.spec.containers[0], image: `${name}:old` }],
        },
      },
    },
  };
  return [deployment, first, set, service, ...pods];
}

function owner(kind: string, name: string, uid: string): object {
  return { apiVersion: 'apps/v1', kind, name, uid, controller: true };
}

function fakePod(
  name: string,
  index: number,
  { image, state, node }: { image: string; state: string; node: string },
): FakeObject {
  const endings = ['x2k4z', 'b7m9q', 'w5t8n', 'j4r6v'];
  const podName = `${name}-7d9f8c6b5f-${endings[index] ?? `n${1000 + index}`}`;
  const isRunning = state === 'running';
  const isCrash = state === 'crash';
  const waiting: Record<string, object> = {
    pulling: { reason: 'ContainerCreating', message: `Pulling image "${image}": 62 of 180 MB` },
    image: {
      reason: 'ImagePullBackOff',
      message: `Back-off pulling image "${image}": Error response from daemon: manifest for ${image} not found: manifest unknown`,
    },
    crash: {
      reason: 'CrashLoopBackOff',
      message: `back-off 40s restarting failed container=${name}`,
    },
  };
  const containerState = isRunning
    ? { running: { startedAt: ago(200) } }
    : { waiting: waiting[state] ?? { reason: 'ContainerCreating' } };
  const unscheduled = state === 'waiting';
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: podName,
      namespace: 'default',
      uid: `pod-${name}-${index}`,
      labels: { app: name },
      creationTimestamp: ago(200 + index),
      ownerReferences: [owner('ReplicaSet', `${name}-7d9f8c6b5f`, `rs-${name}`)],
    },
    spec: { ...(!unscheduled && { nodeName: node }), containers: [{ name, image }] },
    status: {
      phase: isRunning || isCrash ? 'Running' : 'Pending',
      podIP: '10.244.0.7',
      startTime: ago(200 + index),
      conditions: [
        {
          type: 'PodScheduled',
          status: unscheduled ? 'False' : 'True',
          ...(unscheduled && {
            reason: 'Unschedulable',
            message: '0/3 nodes are available: 3 Insufficient memory.',
          }),
        },
        { type: 'Ready', status: isRunning ? 'True' : 'False' },
      ],
      ...(!unscheduled && {
        containerStatuses: [
          {
            name,
            image,
            imageID: '',
            ready: isRunning,
            restartCount: isCrash ? 5 : 0,
            started: isRunning,
            state: containerState,
            ...(isCrash && {
              lastState: { terminated: { exitCode: 1, reason: 'Error', finishedAt: ago(1) } },
            }),
          },
        ],
      }),
    },
  };
}

/** 200 apps whose names are as long as names may be, with 5,000 copies on 30 machines. */
export function fakeCrowd(): FakeObject[] {
  const machines = Array.from({ length: 30 }, (_, index) =>
    fakeNode(`${'machine-in-the-long-corridor-'.repeat(3).slice(0, 60)}-${index + 10}`, {
      cpu: 8,
      memoryGi: 16,
    }),
  );
  const apps = Array.from({ length: 200 }, (_, index) => {
    const name = `${'a-name-of-all-the-letters-there-may-be-'.repeat(2).slice(0, 59)}-${index + 100}`;
    const image = `registry.example/${'deep/'.repeat(20)}image:${index}`;
    const node = machines[index % machines.length]?.metadata.name ?? '';
    return fakeApp(name, { image, copies: 25, node, nodePort: 30000 + index });
  });
  return [...machines, ...apps.flat()];
}

/** Served by a machine. */
function fakeIngress(service: string, host: string): FakeObject {
  const backend = { service: { name: service, port: { number: 80 } } };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name: service, namespace: 'default' },
    spec: {
      ingressClassName: 'flotilla',
      rules: [{ host, http: { paths: [{ path: '/', pathType: 'Prefix', backend }] } }],
    },
    status: { loadBalancer: { ingress: [{ ip: '192.168.1.20' }] } },
  };
}

let eventNumber = 0;
export function fakeEvent(
  kind: string,
  name: string,
  options: { reason: string; message: string; minutesAgo: number; uid?: string; type?: string },
): FakeObject {
  const { reason, message, minutesAgo, uid = '', type = 'Normal' } = options;
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: {
      name: `event-${++eventNumber}`,
      namespace: 'default',
      creationTimestamp: ago(minutesAgo),
    },
    involvedObject: { kind, name, namespace: kind === 'Node' ? '' : 'default', uid },
    reason,
    message,
    type,
    count: 1,
    lastTimestamp: ago(minutesAgo),
  };
}

export function fakeHome(): FakeObject[] {
  return [
    ...['default', 'kube-system'].map((name): FakeObject => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name },
      status: { phase: 'Active' },
    })),
    fakeNode('nuc', {
      cpu: 8,
      memoryGi: 16,
      annotations: {
        'flotilla.dev/proxy-mode': 'userspace',
        'flotilla.dev/proxy-reason':
          'nft needs CAP_NET_ADMIN. Only NodePorts are served; ClusterIPs are not reachable.',
      },
    }),
    fakeNode('pi-kitchen', {
      architecture: 'arm64',
      cpu: 4,
      memoryGi: 8,
      osImage: 'Raspberry Pi OS (bookworm)',
    }),
    fakeNode('thinkpad', {
      cpu: 8,
      memoryGi: 32,
      ready: {
        status: 'Unknown',
        reason: 'NodeStatusUnknown',
        message: 'Kubelet stopped posting node status.',
      },
    }),
    ...fakeApp('jellyfin', {
      image: 'jellyfin/jellyfin:10.11',
      nodePort: 30096,
      memory: '2Gi',
      data: '/srv/jellyfin',
    }),
    fakeIngress('jellyfin', 'jellyfin.local'),
    ...fakeApp('home-assistant', {
      image: 'ghcr.io/home-assistant/home-assistant:2026.11',
      nodePort: 30123,
    }),
    ...fakeApp('pi-hole', { image: 'pihole/pihole:2026.10', node: 'pi-kitchen', nodePort: 30080 }),
    ...fakeApp('web', { image: 'nginx:alpine', copies: 3, nodePort: 30081, memory: '64Mi' }),
    ...fakeApp('immich', { image: 'ghcr.io/immich-app/immich-server:v2', state: 'pulling' }),
    ...fakeApp('paperless', { image: 'paperless-ngx/paperless:9.99', state: 'image' }),
    ...fakeApp('vaultwarden', {
      image: 'vaultwarden/server:1.36',
      state: 'asleep',
      nodePort: 30333,
    }),
    fakeEvent('Pod', 'immich-7d9f8c6b5f-x2k4z', {
      reason: 'Pulling',
      message: 'Pulling image "ghcr.io/immich-app/immich-server:v2"',
      minutesAgo: 1,
      uid: 'pod-immich-0',
    }),
    fakeEvent('Pod', 'paperless-7d9f8c6b5f-x2k4z', {
      reason: 'Failed',
      message: 'Failed to pull image "paperless-ngx/paperless:9.99"',
      minutesAgo: 6,
      uid: 'pod-paperless-0',
      type: 'Warning',
    }),
    fakeEvent('Node', 'thinkpad', {
      reason: 'NodeNotReady',
      message: 'Node thinkpad status is now: NodeNotReady',
      minutesAgo: 34,
    }),
    fakeEvent('Deployment', 'web', {
      reason: 'ScalingReplicaSet',
      message: 'Scaled up replica set web-7d9f8c6b5f from 1 to 3',
      minutesAgo: 55,
      uid: 'deploy-web',
    }),
    fakeEvent('Pod', 'jellyfin-7d9f8c6b5f-x2k4z', {
      reason: 'Started',
      message: 'Started container jellyfin',
      minutesAgo: 200,
      uid: 'pod-jellyfin-0',
    }),
    fakeEvent('Pod', 'pi-hole-7d9f8c6b5f-x2k4z', {
      reason: 'Started',
      message: 'Started container pi-hole',
      minutesAgo: 201,
      uid: 'pod-pi-hole-0',
    }),
    fakeEvent('Node', 'pi-kitchen', {
      reason: 'RegisteredNode',
      message: 'Node pi-kitchen event: Registered Node',
      minutesAgo: 1500,
    }),
  ];
}

/** A steady hum with a slow wave, so that charts have something to show. */
export function fakeStats(node: string, nowMs: number, objects: readonly FakeObject[]): object {
  const wave = (period: number, phase: number): number =>
    0.5 + 0.5 * Math.sin(nowMs / period + phase);
  const pods = objects.filter(
    (object) =>
      object.kind === 'Pod' && (object['spec'] as { nodeName?: string }).nodeName === node,
  );
  return {
    time: new Date(nowMs).toISOString(),
    node: {
      cpuNanoCores: 9e8 + 6e8 * wave(4000, node.length),
      memoryWorkingSetBytes: (node === 'nuc' ? 6.7 : 2.1) * 2 ** 30,
      fs: { usedBytes: 92 * 2 ** 30, capacityBytes: 220 * 2 ** 30 },
    },
    pods: pods.map(({ metadata }, index) => ({
      namespace: metadata.namespace,
      name: metadata.name,
      containers: [
        {
          name: 'main',
          cpuNanoCores: 3e7 + 6e7 * wave(2500 + 700 * index, index) + 2e7 * wave(330, index * 2),
          memoryWorkingSetBytes:
            (180 + 40 * wave(9000, index)) * 2 ** 20 * (metadata.name.startsWith('web') ? 0.1 : 1),
        },
      ],
      network: { rxBytes: nowMs % 1e9, txBytes: nowMs % 1e9 },
    })),
  };
}

const hourMs = 3_600_000;
const pastRanges: Readonly<Record<string, { readonly stepMs: number; readonly spanMs: number }>> = {
  '1h': { stepMs: 10_000, spanMs: hourMs },
  '24h': { stepMs: 60_000, spanMs: 24 * hourMs },
  '14d': { stepMs: 900_000, spanMs: 14 * 24 * hourMs },
};

/** What a node keeps of one series; in the middle of each range it was switched off. */
export function fakeHistory(node: string, query: URLSearchParams, nowMs: number): object {
  const { stepMs, spanMs } = pastRanges[query.get('range') ?? ''] ?? { stepMs: 1000, spanMs: 0 };
  const startMs = Math.floor((nowMs - spanMs) / stepMs) * stepMs;
  const of = query.get('of') ?? 'node';
  const slots = Array.from({ length: spanMs / stepMs }, (_, slot) => slot);
  const isOff = (slot: number): boolean => Math.abs(slot / slots.length - 0.5) < 0.05;
  const column = (value: (slot: number) => number): (number | null)[] =>
    slots.map((slot) => (isOff(slot) ? null : value(slot)));
  const most = of === 'node' ? 15e8 : 1e8;
  const series = {
    cpuNanoCores: column((slot) => most * (0.4 + 0.3 * Math.sin(slot / 20 + node.length))),
    memoryWorkingSetBytes: column(() => (of === 'node' ? 2.1 * 2 ** 30 : 30 * 2 ** 20)),
  };
  return { stepMs, startMs, series: { [of]: series } };
}
