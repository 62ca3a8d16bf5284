// Functions of lists: Kubernetes' own, those of cel-go's extensions that it takes in, and sets.
// Source: kubernetes apiserver pkg/cel/library/lists.go, cel-go ext/{lists,sets}.go.
import { Optional, type Environment } from '@marcbachmann/cel-js';
import { Duration } from '@marcbachmann/cel-js/evaluator';
import type { Budget } from './budget.ts';
import { compareValues, equalValues } from './equality.ts';
import { registerNamespace } from './namespaces.ts';

type List = readonly unknown[];

// What lists hold is dyn in their results: of a receiver that is dyn itself the library would leave a
// type variable open, and find no operator for what comes of it.
export function registerLists(env: Environment, budget: Budget): void {
  env.registerFunction('list.isSorted(): bool', (list: List) =>
    list.every((item, index) => index === 0 || compareValues(list[index - 1], item) <= 0),
  );
  env.registerFunction('list.sum(): dyn', (list: List) =>
    list.length === 0 ? 0n : list.reduce(plus),
  );
  const extreme = (list: List, sign: number): unknown => {
    if (list.length === 0) throw new Error(`${sign < 0 ? 'min' : 'max'} called on empty list`);
    return list.reduce((best, item) => (compareValues(item, best) * sign > 0 ? item : best));
  };
  env.registerFunction('list.min(): dyn', (list: List) => extreme(list, -1));
  env.registerFunction('list.max(): dyn', (list: List) => extreme(list, 1));
  env.registerFunction('list<A>.indexOf(A): int', (list: List, item: unknown) =>
    BigInt(list.findIndex((one) => equalValues(one, item))),
  );
  env.registerFunction('list<A>.lastIndexOf(A): int', (list: List, item: unknown) =>
    BigInt(list.findLastIndex((one) => equalValues(one, item))),
  );
  registerExtensions(env, budget);
  registerSets(env, budget);
}

function plus(sum: unknown, item: unknown): unknown {
  if (sum instanceof Duration && item instanceof Duration) return sum.addDuration(item);
  if (typeof sum === 'bigint' && typeof item === 'bigint') return sum + item;
  if (typeof sum === 'number' || typeof item === 'number') return Number(sum) + Number(item);
  throw new Error('no such overload');
}

function registerExtensions(env: Environment, budget: Budget): void {
  env.registerFunction('list.slice(int, int): list', slice);
  env.registerFunction('list.reverse(): list', (list: List) => list.toReversed());
  env.registerFunction('list.sort(): list', (list: List) => list.toSorted(compareValues));
  env.registerFunction('list.distinct(): list', (list: List) => {
    const found: unknown[] = [];
    for (const item of list) {
      budget.spend(found.length / 10);
      if (!found.some((one) => equalValues(one, item))) found.push(item);
    }
    return found;
  });
  const flatten = (list: List, depth: bigint): unknown[] => {
    if (depth < 0n) throw new Error('level must be non-negative');
    const flat = (list as unknown[][]).flat(Math.min(Number(depth), 100));
    budget.spend(flat.length / 10);
    return flat;
  };
  env.registerFunction('list.flatten(): list', (list: List) => flatten(list, 1n));
  env.registerFunction('list.flatten(int): list', flatten);
  env.registerFunction('list.first(): optional<dyn>', (list: List) => Optional.of(list[0]));
  env.registerFunction('list.last(): optional<dyn>', (list: List) => Optional.of(list.at(-1)));
  registerNamespace(env, 'lists', 'ListsNamespace');
  env.registerFunction('ListsNamespace.range(int): list<int>', (_: unknown, size: bigint) => {
    budget.spend(Math.max(0, Number(size)));
    return Array.from({ length: Math.max(0, Number(size)) }, (_item, index) => BigInt(index));
  });
}

function slice(list: List, from: bigint, to: bigint): List {
  const wrong = (why: string) => new Error(`cannot slice(${from}, ${to}), ${why}`);
  if (from < 0n || to < 0n) throw wrong('negative indexes not supported');
  if (from > to) throw wrong('start index must be less than or equal to end index');
  if (to > BigInt(list.length)) throw wrong(`list is length ${list.length}`);
  return list.slice(Number(from), Number(to));
}

function registerSets(env: Environment, budget: Budget): void {
  registerNamespace(env, 'sets', 'SetsNamespace');
  const has = (list: List, item: unknown): boolean => {
    budget.spend(list.length / 10);
    return list.some((one) => equalValues(one, item));
  };
  const contains = (list: List, part: List): boolean => part.every((item) => has(list, item));
  const functions = {
    contains,
    equivalent: (a: List, b: List) => contains(a, b) && contains(b, a),
    intersects: (a: List, b: List) => a.some((item) => has(b, item)),
  };
  for (const [name, judge] of Object.entries(functions))
    env.registerFunction(
      `SetsNamespace.${name}(list<A>, list<A>): bool`,
      (_: unknown, a: List, b: List) => judge(a, b),
    );
}
