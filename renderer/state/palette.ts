// Finding by a few letters: whole words first, then beginnings, then letters in order. Pure.

export type PaletteKind = 'app' | 'machine' | 'kind' | 'action';
export interface PaletteEntry {
  readonly kind: PaletteKind;
  readonly label: string;
  readonly note: string;
}

export const foundMax = 30;

/** Best first; equal ones keep their order. */
export function findEntries<T extends PaletteEntry>(entries: readonly T[], text: string): T[] {
  const wanted = text.trim().toLowerCase();
  if (wanted === '') return entries.filter(({ kind }) => kind !== 'kind').slice(0, foundMax);
  return entries
    .map((entry) => ({ entry, score: scoreOf(entry.label.toLowerCase(), wanted) }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score)
    .slice(0, foundMax)
    .map(({ entry }) => entry);
}

/** 0: no match. */
export function scoreOf(label: string, wanted: string): number {
  if (label === wanted) return 5;
  if (label.startsWith(wanted)) return 4;
  if (label.split(/[\s-]+/).some((word) => word.startsWith(wanted))) return 3;
  if (label.includes(wanted)) return 2;
  return hasLettersInOrder(label, wanted) ? 1 : 0;
}

function hasLettersInOrder(label: string, wanted: string): boolean {
  let from = 0;
  for (const letter of wanted) {
    const found = label.indexOf(letter, from);
    if (found < 0) return false;
    from = found + 1;
  }
  return true;
}
