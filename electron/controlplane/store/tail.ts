// The newest part of the state, not yet handed to storage: rows that are read from here, and rows
// of storage that nothing needs any more. A row that is compacted while it is here is never written.
import type { StoredRow } from './rows.ts';

export class Tail {
  #rows = new Map<number, StoredRow>();
  #removed: number[] = [];
  #sizeBytes = 0;

  get rowCount(): number {
    return this.#rows.size;
  }

  get removedCount(): number {
    return this.#removed.length;
  }

  /** Of keys and values. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get(row: number): StoredRow | undefined {
    return this.#rows.get(row);
  }

  add(row: StoredRow): void {
    this.#rows.set(row.row, row);
    this.#sizeBytes += sizeOf(row);
  }

  /** Nothing asks for this row again. */
  drop(number: number): void {
    const row = this.#rows.get(number);
    if (row === undefined) {
      this.#removed.push(number);
      return;
    }
    this.#rows.delete(number);
    this.#sizeBytes -= sizeOf(row);
  }

  content(): { readonly rows: readonly StoredRow[]; readonly removed: readonly number[] } {
    return { rows: Array.from(this.#rows.values()), removed: this.#removed };
  }

  /** Storage has the content. */
  clear(): void {
    this.#rows = new Map();
    this.#removed = [];
    this.#sizeBytes = 0;
  }
}

function sizeOf(row: StoredRow): number {
  return row.key.length + (row.value?.length ?? 0) + 100;
}
