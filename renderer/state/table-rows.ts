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

/** Undefined: the history is gone, list again. One copy of the rows, however many events. */
export function applyTableEvents(
  table: LiveTable,
  events: readonly TableEvent[],
): LiveTable | undefined {
  const rows = new Map(table.rows);
  let { resourceVersion } = table;
  for (const { type, object } of events) {
    if (type === 'ERROR' || !isTable(object)) return undefined;
    for (const row of (object.rows ?? []).map(rowOf)) {
      if (type === 'DELETED') rows.delete(row.key);
      else if (type !== 'BOOKMARK') rows.set(row.key, row);
    }
    resourceVersion =
      (object.metadata?.resourceVersion ?? versionOf(object.rows?.at(-1))) || resourceVersion;
  }
  return { ...table, rows, resourceVersion };
}

const byName = new Intl.Collator('en', { numeric: true });

export function sortedRows(table: LiveTable, search: string): LiveRow[] {
  const wanted = search.trim().toLowerCase();
  const all = [...table.rows.values()];
  const found =
    wanted === ''
      ? all
      : all.filter(({ namespace, cells }) =>
          `${namespace} ${cells.join(' ')}`.toLowerCase().includes(wanted),
        );
  return found.sort(
    (a, b) => byName.compare(a.namespace, b.namespace) || byName.compare(a.name, b.name),
  );
}

/** A cell as it is shown. */
export function cellText(cell: unknown): string {
  if (cell === null || cell === undefined) return '';
  return typeof cell === 'string' ? cell : JSON.stringify(cell);
}

/** The longest text of a column: it gives the column its width, whichever rows are on screen. */
export function longestText(texts: Iterable<string>): string {
  let longest = '';
  for (const text of texts) if (text.length > longest.length) longest = text;
  return longest;
}

export interface RowWindow {
  readonly first: number;
  readonly end: number;
}

/** The rows to draw of `count`: those on screen and some more, in steps, so that scrolling is calm. */
export function rowWindow(options: {
  readonly count: number;
  readonly rowHeight: number;
  /** Of the first row, from the top of the screen; negative once it is scrolled away. */
  readonly top: number;
  readonly screenHeight: number;
}): RowWindow {
  const { count, rowHeight, top, screenHeight } = options;
  const step = 20;
  const firstSeen = Math.max(0, -top) / rowHeight;
  const first = Math.max(0, Math.floor(firstSeen / step) * step - step);
  const seen = Math.ceil(screenHeight / rowHeight);
  const end = Math.min(count, Math.ceil((firstSeen + seen) / step) * step + step);
  return { first: Math.min(first, count), end };
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
