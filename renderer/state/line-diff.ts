// What differs between two texts, line by line, with a little of what stays around it. Pure.
// Source of the method: longest common subsequence; equal heads and tails are cut off first, and what
// is left is bounded, so that a huge object costs no more than a plain "all of it changed".

export interface DiffLine {
  readonly kind: 'same' | 'added' | 'removed' | 'skipped';
  readonly text: string;
}

const contextLines = 2;
const cellsMax = 4_000_000;

export function diffLines(before: string, after: string): DiffLine[] {
  const a = linesOf(before);
  const b = linesOf(after);
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail))
    tail++;
  const middle = diffMiddle(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  if (middle.length === 0) return [];
  const all = [
    ...a.slice(0, head).map(line('same')),
    ...middle,
    ...a.slice(a.length - tail).map(line('same')),
  ];
  return withoutFar(all);
}

function linesOf(text: string): string[] {
  return text === '' ? [] : text.replace(/\n$/, '').split('\n');
}

function line(kind: DiffLine['kind']): (text: string) => DiffLine {
  return (text) => ({ kind, text });
}

function diffMiddle(a: readonly string[], b: readonly string[]): DiffLine[] {
  if (a.length * b.length > cellsMax) return [...a.map(line('removed')), ...b.map(line('added'))];
  const width = b.length + 1;
  // common[i * width + j]: how many lines a[i…] and b[j…] have in common, in order.
  const common = new Uint32Array((a.length + 1) * width);
  const at = (i: number, j: number): number => common[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      common[i * width + j] =
        a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  const lines: DiffLine[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const isSame = i < a.length && j < b.length && a[i] === b[j];
    const isRemoved = i < a.length && (j >= b.length || at(i + 1, j) >= at(i, j + 1));
    if (isSame) lines.push({ kind: 'same', text: a[i] ?? '' });
    else if (isRemoved) lines.push({ kind: 'removed', text: a[i] ?? '' });
    else lines.push({ kind: 'added', text: b[j] ?? '' });
    if (isSame || isRemoved) i++;
    if (isSame || !isRemoved) j++;
  }
  return lines;
}

/** Lines far from any change become one line that says how many they were. */
function withoutFar(all: readonly DiffLine[]): DiffLine[] {
  const isNear = all.map(() => false);
  all.forEach(({ kind }, index) => {
    if (kind !== 'same')
      isNear.fill(true, Math.max(0, index - contextLines), index + contextLines + 1);
  });
  const lines: DiffLine[] = [];
  let skipped = 0;
  const flush = (): void => {
    if (skipped > 0) lines.push({ kind: 'skipped', text: `${skipped} lines the same` });
    skipped = 0;
  };
  all.forEach((one, index) => {
    if (isNear[index] !== true) skipped++;
    else {
      flush();
      lines.push(one);
    }
  });
  flush();
  return lines;
}
