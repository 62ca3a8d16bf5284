// The indexes of an indexed job as text: `1,3-5,7`.
// Source: kubernetes pkg/apis/batch/validation/validation.go validateIndexesFormat.

/** What is wrong with such a text. */
export class IndexesError extends Error {}

interface Interval {
  readonly first: number;
  readonly last: number;
}

/** How many there are. Throws IndexesError. */
export function countIndexes(text: string, completions: number): number {
  let count = 0;
  let previous: number | undefined;
  for (const { first, last } of parseIndexes(text, completions)) {
    if (previous !== undefined && previous >= first)
      throw new IndexesError(`non-increasing order, previous: ${previous}, current: ${first}`);
    count += last - first + 1;
    previous = last;
  }
  return count;
}

/** The first index that is in both; undefined also for texts that can't be read. */
export function findOverlap(a: string, b: string, completions: number): number | undefined {
  try {
    const others = parseIndexes(b, completions);
    for (const one of parseIndexes(a, completions))
      for (const other of others)
        if (one.first <= other.last && other.first <= one.last)
          return Math.max(one.first, other.first);
    return undefined;
  } catch (error) {
    if (error instanceof IndexesError) return undefined;
    throw error;
  }
}

function parseIndexes(text: string, completions: number): Interval[] {
  return text === '' ? [] : text.split(',').map((part) => parseInterval(part, completions));
}

function parseInterval(text: string, completions: number): Interval {
  const limits = text.split('-');
  if (limits.length > 2)
    throw new IndexesError(
      `the fragment ${JSON.stringify(text)} violates the requirement that an index interval can have at most two parts separated by '-'`,
    );
  const [first = 0, last = first] = limits.map(parseIndex);
  for (const value of [first, last])
    if (value >= completions)
      throw new IndexesError(`too large index: ${JSON.stringify(String(value))}`);
  if (limits.length === 2 && first >= last)
    throw new IndexesError(`non-increasing order, previous: ${first}, current: ${last}`);
  return { first, last };
}

function parseIndex(text: string): number {
  if (!/^\d+$/.test(text))
    throw new IndexesError(`cannot convert string to integer for index: ${JSON.stringify(text)}`);
  return Number(text);
}
