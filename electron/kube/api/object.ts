// What every object, list and watch of the API has in common. Hand-written: the rest of this
// folder is generated.
// Source: kubernetes apimachinery pkg/apis/meta/v1/types.go, apimachinery pkg/watch.
import type { ListMeta, ObjectMeta, Status } from './meta.ts';

/** Any API object. Kinds in this folder are assignable to it. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

/** An object whose kind is known only at run time (custom resources, generic handlers). */
export interface UnstructuredObject extends KubeObject {
  [field: string]: unknown;
}

export interface KubeList<T extends KubeObject> {
  apiVersion: string;
  kind: string;
  metadata: ListMeta;
  items: T[];
}

export type WatchEvent<T extends KubeObject> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'; readonly object: T }
  | { readonly type: 'ERROR'; readonly object: Status };

/** `meta.k8s.io/v1 Table`: what `kubectl get` prints. */
export interface Table {
  apiVersion: 'meta.k8s.io/v1';
  kind: 'Table';
  metadata: ListMeta;
  columnDefinitions: TableColumn[];
  rows: TableRow[];
}

export interface TableColumn {
  name: string;
  type: string;
  format: string;
  description: string;
  /** 0 is always shown; higher ones only with `-o wide`. */
  priority: number;
}

export interface TableRow {
  cells: unknown[];
  object?: unknown;
}

/** Group, version and plural resource name: what a REST path is made of. `group` is '' for core. */
export interface GroupVersionResource {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
}

export interface GroupVersionKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}
