// The order of a list after a strategic merge: what the patch names comes in the patch's order,
// what only the server has keeps its own, and the two are woven by where they stood before.
// Source: kubernetes apimachinery pkg/util/strategicpatch/patch.go (normalizeElementOrder).
import { isObject } from './equality.ts';
import { KeyIndex } from './key-index.ts';

export interface MergedList {
  readonly merged: readonly unknown[];
  /** The patch's elements, whose order counts unless `order` is given. */
  readonly patch: readonly unknown[];
  /** The list before the merge. */
  readonly original: readonly unknown[];
  /** $setElementOrder: elements with their merge key only, or primitives. */
  readonly order: readonly unknown[] | undefined;
  /** What makes two elements the same one. */
  readonly identity: (item: unknown) => unknown;
}

export function orderMerged(list: MergedList): unknown[] {
  const { merged, patch, original, order, identity } = list;
  const leading = new KeyIndex(
    (order ?? patch).map((item) => (isObject(item) ? identity(item) : item)),
  );
  const before = new KeyIndex(original.map(identity));
  const fromPatch: Ranked[] = [];
  const serverOnly: Ranked[] = [];
  for (const item of merged) {
    const key = identity(item);
    const patchRank = leading.find(key);
    const serverRank = before.find(key);
    if (patchRank >= 0) fromPatch.push({ item, rank: patchRank, serverRank });
    else serverOnly.push({ item, rank: serverRank, serverRank });
  }
  return weave(sortByRank(serverOnly), sortByRank(fromPatch));
}

interface Ranked {
  readonly item: unknown;
  /** Place in the list that rules this element's order. */
  readonly rank: number;
  /** Place in the list before the merge; -1 for new elements. */
  readonly serverRank: number;
}

/** New elements of the patch come before server-only ones, as in Kubernetes. */
function weave(serverOnly: readonly Ranked[], fromPatch: readonly Ranked[]): unknown[] {
  const result: unknown[] = [];
  let next = 0;
  for (const entry of fromPatch) {
    for (; next < serverOnly.length; next++) {
      const server = serverOnly[next];
      if (server === undefined || entry.serverRank < 0 || server.serverRank > entry.serverRank)
        break;
      result.push(server.item);
    }
    result.push(entry.item);
  }
  return [...result, ...serverOnly.slice(next).map((entry) => entry.item)];
}

function sortByRank(entries: readonly Ranked[]): Ranked[] {
  return entries.toSorted((a, b) => a.rank - b.rank);
}
