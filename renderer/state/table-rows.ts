// A server-side Table kept live by its watch events. Pure. Source: kubernetes meta/v1 Table, as
// `kubectl get -w` reads it.
import type { Table, TableColumn, TableRow, WatchEvent } from '#kube/api/object.ts';
import type { ObjectMeta, Status } from '#kube/api/meta.ts';

export interface LiveRow {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly cells: readonly unknown[];
}
export interface LiveTable {
  readonly columns: readonly TableColumn[];
  readonly rows: ReadonlyMap<string, LiveRow>;
  readonly resourceVersion: string;
}

export function tableOf(table: Table): LiveTable {
  return {
    columns: table.columnDefinitions ?? [],
    rows: new Map((table.rows ?? []).map(rowOf).map((row) => [row.key, row])),
    resourceVersion: table.metadata.resourceVersion ?? '',
  };
}

/** What a watch sends when asked for Tables: each object is a Table of one row. */
export interface TableEvent {
  readonly type: WatchEvent<never>['type'];
  readonly object: Table | Status;
}

/** Undefined: the history is gone, list again. */
export function applyTableEvent(table: LiveTable, event: TableEvent): LiveTable | undefined {
  if (event.type === 'ERROR' || !isTable(event.object)) return undefined;
  const changed = event.object;
  const rows = new Map(table.rows);
  for (const row of (changed.rows ?? []).map(rowOf)) {
    if (event.type === 'DELETED') rows.delete(row.key);
    else if (event.type !== 'BOOKMARK') rows.set(row.key, row);
  }
  const version = changed.metadata?.resourceVersion ?? versionOf(changed.rows?.at(-1));
  return { ...table, rows, resourceVersion: version || table.resourceVersion };
}

export function sortedRows(table: LiveTable, search: string): LiveRow[] {
  const wanted = search.trim().toLowerCase();
  return [...table.rows.values()]
    .filter(({ namespace, cells }) =>
      `${namespace} ${cells.join(' ')}`.toLowerCase().includes(wanted),
    )
    .sort(
      (a, b) =>
        a.namespace.localeCompare(b.namespace) ||
        a.name.localeCompare(b.name, 'en', { numeric: true }),
    );
}

function isTable(object: Table | Status): object is Table {
  return object.kind === 'Table';
}

function rowOf(row: TableRow): LiveRow {
  const [first] = row.cells;
  const { name = typeof first === 'string' ? first : '', namespace = '' } = metadataOf(row);
  return { key: `${namespace}/${name}`, namespace, name, cells: row.cells };
}

function versionOf(row: TableRow | undefined): string {
  return row === undefined ? '' : (metadataOf(row).resourceVersion ?? '');
}

function metadataOf(row: TableRow): Partial<ObjectMeta> {
  return (row.object as { metadata?: ObjectMeta } | undefined)?.metadata ?? {};
}
