// Columns and cell texts that several kinds share.
// Source: kubernetes pkg/printers/internalversion/printers.go.
import type { Container, PodTemplateSpec } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { Column } from '../resource.ts';
import { age } from './age.ts';

export const nameColumn: Column = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: 'Name of the object, unique within its namespace and kind.',
  cell: (object) => object.metadata.name,
};

export const ageColumn: Column = {
  name: 'Age',
  type: 'string',
  description: 'Time since the object was created.',
  cell: (object, nowMs) => age(object.metadata.creationTimestamp, nowMs),
};

/** What kinds without columns of their own show beside their name. */
export const createdAtColumn: Column = {
  name: 'Created At',
  type: 'date',
  description: 'When the object was created.',
  cell: (object) => object.metadata.creationTimestamp ?? '',
};

/** A column of texts. */
export function textColumn<T extends KubeObject>(
  name: string,
  description: string,
  cell: Column<T>['cell'],
): Column<T> {
  return { name, type: 'string', description, cell };
}

/** A column of numbers; 0 when there is none. */
export function count<T extends KubeObject>(
  name: string,
  description: string,
  value: (object: T) => number | undefined,
): Column<T> {
  return { name, type: 'integer', description, cell: (object) => value(object) ?? 0 };
}

/** The same column, only with -o wide. */
export function wide<T extends KubeObject>(column: Column<T>): Column<T> {
  return { ...column, priority: 1 };
}

export function selectorColumn<T extends KubeObject>(cell: (object: T) => string): Column<T> {
  return wide(textColumn('Selector', 'Which pods it owns.', cell));
}

export function templateContainers(template: PodTemplateSpec | undefined): readonly Container[] {
  return template?.spec?.containers ?? [];
}

/** The containers of a pod template, shown with -o wide. */
export function containerColumns<T extends KubeObject>(
  containersOf: (object: T) => readonly Container[],
): readonly Column<T>[] {
  const column = (name: string, description: string, text: (container: Container) => string) => ({
    name,
    type: 'string' as const,
    description,
    priority: 1,
    cell: (object: T) => containersOf(object).map(text).join(','),
  });
  return [
    column('Containers', 'Names of the containers in the template.', (container) => container.name),
    column('Images', 'Images of the containers in the template.', (c) => c.image ?? ''),
  ];
}

/** `a=1,b=2` by key, `<none>` when empty. */
export function formatLabels(labels: Readonly<Record<string, string>> | undefined): string {
  const keys = Object.keys(labels ?? {}).sort();
  return orNone(keys.map((key) => `${key}=${labels?.[key] ?? ''}`).join(','));
}

export function orNone(text: string | undefined): string {
  return text === undefined || text === '' ? '<none>' : text;
}

export function orUnknown(text: string | undefined): string {
  return text === undefined || text === '' ? '<unknown>' : text;
}
