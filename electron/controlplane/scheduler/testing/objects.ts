// Nodes and pods for the scheduler's tests, with only what a test says. For tests only.
import type { Node, Pod, PodSpec } from '#kube/api/core.ts';
import { NodeInfo, podInfoOf } from '../node-info.ts';

export interface NodeShape {
  readonly labels?: Record<string, string>;
  readonly allocatable?: Record<string, string>;
  readonly spec?: Node['spec'];
  readonly images?: Record<string, number>;
}

export function makeNode(name: string, shape: NodeShape = {}): Node {
  const images = Object.entries(shape.images ?? {});
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      uid: `uid-${name}`,
      resourceVersion: '1',
      labels: { 'kubernetes.io/hostname': name, ...shape.labels },
    },
    spec: shape.spec ?? {},
    status: {
      allocatable: { cpu: '4', memory: '8Gi', pods: '110', ...shape.allocatable },
      images: images.map(([image, sizeBytes]) => ({ names: [image], sizeBytes })),
    },
  };
}

export interface PodShape extends Partial<PodSpec> {
  readonly labels?: Record<string, string>;
  readonly owner?: string;
  /** Of its only container. */
  readonly requests?: Record<string, string>;
  readonly hostPorts?: readonly number[];
}

export function makePod(name: string, shape: PodShape = {}): Pod {
  const { labels = {}, owner, requests, hostPorts = [], ...spec } = shape;
  const controller = {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    name: owner ?? '',
    uid: `uid-${owner}`,
    controller: true,
  };
  const ports = hostPorts.map((hostPort) => ({ containerPort: 80, hostPort }));
  const resources = requests === undefined ? {} : { requests };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      namespace: 'default',
      name,
      uid: `uid-${name}`,
      resourceVersion: '1',
      labels,
      ...(owner === undefined ? {} : { ownerReferences: [controller] }),
    },
    spec: { containers: [{ name: 'main', image: 'web', ports, resources }], ...spec },
    status: { phase: 'Pending' },
  };
}

export function nodeInfo(node: Node, running: readonly Pod[] = []): NodeInfo {
  const info = new NodeInfo(node.metadata.name);
  info.setNode(node);
  for (const pod of running) info.addPod(podInfoOf(pod));
  return info;
}
