// What is said of one file of a volume that is copied: enough to know whether the copy is the same, and whether the file
// changed since it was looked at. One JSON text a line, in the order of the walk. Pure.

export type EntryKind = 'file' | 'directory' | 'link' | 'fifo' | 'device';

export interface Entry {
  /** Below the volume, by bytes (Latin-1): names are not always UTF-8. The volume itself is ''. */
  readonly path: string;
  readonly kind: EntryKind;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds: not every file system knows more. */
  readonly modified: number;
  /** Of a file; of all others 0. */
  readonly size: number;
  /** On the disk: less than `size` where the file has holes. */
  readonly allocated: number;
  /** Other than this, it is another file or was written to. '' when it was written to just now: it may be again, unseen. */
  readonly stamp: string;
  /** Of a file: SHA-256. */
  readonly digest?: string;
  /** Of a link: where it leads, by bytes. */
  readonly target?: string;
  /** The first name of a file that has several. */
  readonly first?: string;
  readonly device?: number;
}

/** Directories first looked at, then what is in them, each by its bytes. */
export function comparePaths(a: string, b: string): number {
  const [left, right] = [a.split('/'), b.split('/')];
  if (a === '' || b === '') return a === b ? 0 : a === '' ? -1 : 1;
  for (let index = 0; index < Math.min(left.length, right.length); index++) {
    const [one = '', other = ''] = [left[index], right[index]];
    if (one !== other) return one < other ? -1 : 1;
  }
  return left.length - right.length;
}

/** Whether a copy shows what the original does. */
export function isSame(original: Entry, copy: Entry): boolean {
  return differenceOf(original, copy) === undefined;
}

/** What differs, for a person; undefined: nothing. */
export function differenceOf(original: Entry, copy: Entry): string | undefined {
  const parts = [
    'kind',
    'mode',
    'uid',
    'gid',
    'size',
    'digest',
    'target',
    'first',
    'device',
  ] as const;
  const part = parts.find((name) => original[name] !== copy[name]);
  if (part !== undefined) return part;
  // Links keep the time of their making on some file systems.
  return original.kind !== 'link' && original.modified !== copy.modified ? 'modified' : undefined;
}

export function formatEntry(entry: Entry): string {
  return `${JSON.stringify(entry)}\n`;
}

/** Throws on what no agent writes. */
export function parseEntry(line: string): Entry {
  const entry = JSON.parse(line) as Partial<Entry>;
  const { path, kind, stamp } = entry;
  const isWhole = typeof path === 'string' && typeof kind === 'string' && typeof stamp === 'string';
  if (!isWhole || path.split('/').includes('..') || path.startsWith('/'))
    throw new Error(`this is no entry of a volume: ${line.slice(0, 200)}`);
  return entry as Entry;
}

export type Change =
  /** The copy has it as it is. */
  | { readonly type: 'keep'; readonly entry: Entry }
  | { readonly type: 'fetch'; readonly entry: Entry }
  /** In the copy only, or there as something else. */
  | { readonly type: 'remove'; readonly entry: Entry };

export interface Compared {
  /** As the original is now. */
  readonly original: Entry | undefined;
  /** As the original was when it was last copied. */
  readonly known: Entry | undefined;
  /** What lies in the copy; its digest only where `known` is missing. */
  readonly copy: Entry | undefined;
}

/** One path of the three. Directories are always fetched: their times change with what is in them. */
export function changesOf({ original, known, copy }: Compared): Change[] {
  if (original === undefined) return copy === undefined ? [] : [{ type: 'remove', entry: copy }];
  if (copy !== undefined && copy.kind !== original.kind)
    return [
      { type: 'remove', entry: copy },
      { type: 'fetch', entry: original },
    ];
  const isKnown = known !== undefined && known.stamp !== '' && known.stamp === original.stamp;
  const isThere = copy !== undefined && isLike(original, copy);
  const isKept = original.kind === 'file' && isThere && isKnown;
  return [{ type: isKept ? 'keep' : 'fetch', entry: original }];
}

/** Without a digest: of a file that is known to be as it was. */
function isLike(original: Entry, copy: Entry): boolean {
  return isSame(original, { ...copy, digest: original.digest });
}
