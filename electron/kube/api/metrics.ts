// metrics.k8s.io/v1beta1: what nodes and pods use now. Hand-written: client-node has no such types.
// Source: kubernetes k8s.io/metrics pkg/apis/metrics/v1beta1/types.go.
import type { ObjectMeta } from './meta.ts';

/** Quantities of `cpu` and `memory`. */
export interface Usage {
  cpu: string;
  memory: string;
}

export interface NodeMetrics {
  apiVersion: 'metrics.k8s.io/v1beta1';
  kind: 'NodeMetrics';
  metadata: ObjectMeta;
  timestamp: string;
  /** Go's form, `15s`: CPU time was counted for so long before `timestamp`. */
  window: string;
  usage: Usage;
}

export interface PodMetrics {
  apiVersion: 'metrics.k8s.io/v1beta1';
  kind: 'PodMetrics';
  metadata: ObjectMeta;
  timestamp: string;
  window: string;
  containers: { name: string; usage: Usage }[];
}
