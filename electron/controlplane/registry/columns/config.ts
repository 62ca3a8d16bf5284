// Columns of the small core kinds: namespaces, config maps, secrets, service accounts, events.
// Source: kubernetes pkg/printers/internalversion/printers.go.
import type { ConfigMap, Event, Namespace, Secret, ServiceAccount } from '#kube/api/core.ts';
import type { Column } from '../resource.ts';
import { age } from './age.ts';
import { ageColumn, nameColumn } from './cells.ts';

export const namespaceColumns: readonly Column<Namespace>[] = [
  nameColumn,
  {
    name: 'Status',
    type: 'string',
    description: 'Active, or Terminating while its content is deleted.',
    cell: (namespace) => namespace.status?.phase ?? '',
  },
  ageColumn,
];

export const configMapColumns: readonly Column<ConfigMap>[] = [
  nameColumn,
  {
    name: 'Data',
    type: 'string',
    description: 'Number of keys.',
    cell: ({ data, binaryData }) =>
      Object.keys(data ?? {}).length + Object.keys(binaryData ?? {}).length,
  },
  ageColumn,
];

export const secretColumns: readonly Column<Secret>[] = [
  nameColumn,
  {
    name: 'Type',
    type: 'string',
    description: 'What the secret is for.',
    cell: (secret) => secret.type ?? '',
  },
  {
    name: 'Data',
    type: 'string',
    description: 'Number of keys.',
    cell: ({ data }) => Object.keys(data ?? {}).length,
  },
  ageColumn,
];

export const serviceAccountColumns: readonly Column<ServiceAccount>[] = [
  nameColumn,
  {
    name: 'Secrets',
    type: 'string',
    description: 'Number of secrets listed.',
    cell: ({ secrets }) => secrets?.length ?? 0,
  },
  ageColumn,
];

export const eventColumns: readonly Column<Event>[] = [
  {
    name: 'Last Seen',
    type: 'string',
    description: 'Time since it last happened.',
    cell: (event, nowMs) => age(lastSeen(event), nowMs),
  },
  {
    name: 'Type',
    type: 'string',
    description: 'Normal or Warning.',
    cell: (event) => event.type ?? '',
  },
  {
    name: 'Reason',
    type: 'string',
    description: 'Short reason, for machines.',
    cell: (event) => event.reason ?? '',
  },
  { name: 'Object', type: 'string', description: 'What it happened to.', cell: involved },
  wide('Subobject', 'Part of the object it happened to.', (e) => e.involvedObject.fieldPath ?? ''),
  wide('Source', 'Who reported it.', source),
  {
    name: 'Message',
    type: 'string',
    description: 'What happened.',
    cell: (event) => (event.message ?? '').trim(),
  },
  {
    ...wide('First Seen', 'Time since it first happened.', () => ''),
    cell: (event, nowMs) => age(event.firstTimestamp ?? event.eventTime, nowMs),
  },
  { ...wide('Count', 'How often it happened.', () => ''), cell: count },
  { ...wide('Name', 'Name of the event.', (event) => event.metadata.name), format: 'name' },
];

function wide(name: string, description: string, cell: (event: Event) => string): Column<Event> {
  return { name, type: 'string', description, priority: 1, cell };
}

function lastSeen(event: Event): string | undefined {
  const { series, lastTimestamp, firstTimestamp, eventTime } = event;
  return series === undefined
    ? (lastTimestamp ?? firstTimestamp ?? eventTime)
    : series.lastObservedTime;
}

function count(event: Event): number {
  if (event.series !== undefined) return event.series.count ?? 0;
  return event.count === undefined || event.count === 0 ? 1 : event.count;
}

function involved(event: Event): string {
  const kind = (event.involvedObject.kind ?? '').toLowerCase();
  const { name = '' } = event.involvedObject;
  return name === '' ? kind : `${kind}/${name}`;
}

function source(event: Event): string {
  const component = event.source?.component || (event.reportingComponent ?? '');
  const host = event.source?.host || (event.reportingInstance ?? '');
  return host === '' ? component : `${component}, ${host}`;
}
