// An applied configuration on top of what is stored: its leaves replace, maps and structs merge, lists
// of type map or set merge by item. Nothing is removed here. Neither value is changed.
// Source: sigs.k8s.io/structured-merge-diff typed/merge.go.
import { deepCopy } from '../equality.ts';
import type { Schema } from '../schema.ts';
import type { Part, Shapes } from './shapes.ts';
import { assemble } from './typed-value.ts';

/** `config` has passed `findMistakes`: no item is in it twice. */
export function mergeValue(
  shapes: Shapes,
  schema: Schema | undefined,
  { live, config }: { readonly live: unknown; readonly config: unknown },
): unknown {
  const shape = shapes.of(schema, config);
  if (shape.kind === 'leaf' || shapes.of(schema, live).kind !== shape.kind) return deepCopy(config);
  const lives = shapes.parts(shape, live);
  const configs = shapes.parts(shape, config);
  // As it is said: an empty map or list stays what it is.
  if (configs.length === 0) return lives.length === 0 ? deepCopy(config) : live;
  const before = groupsOf(lives);
  const after = new Map(configs.map((part) => [part.element, part]));
  const order =
    shape.kind === 'items'
      ? mergedOrder([...before.keys()], [...after.keys()])
      : [...new Set([...before.keys(), ...after.keys()])];
  const merged = order.flatMap((element) => {
    const olds = before.get(element) ?? [];
    const next = after.get(element);
    if (next === undefined) return olds;
    // Of several items with one key none is the one that is meant: the configuration's stands alone.
    const base = olds.length === 1 ? olds[0]?.value : undefined;
    return [
      { ...next, value: mergeValue(shapes, next.schema, { live: base, config: next.value }) },
    ];
  });
  return assemble(shape, merged);
}

function groupsOf(parts: readonly Part[]): Map<string, Part[]> {
  const groups = new Map<string, Part[]>();
  for (const part of parts) {
    const group = groups.get(part.element);
    if (group === undefined) groups.set(part.element, [part]);
    else group.push(part);
  }
  return groups;
}

/**
 * The configuration's items in its order; those that only the live list has stay behind the one they
 * were behind.
 */
export function mergedOrder(live: readonly string[], config: readonly string[]): string[] {
  const inLive = new Set(live);
  const inConfig = new Set(config);
  const shared = config.filter((element) => inLive.has(element));
  const order: string[] = [];
  let position = 0;
  /** What stands in the live list before the next item that both have. */
  function passLive(): void {
    for (; position < live.length && live[position] !== shared[0]; position++) {
      const element = live[position] as string;
      if (!inConfig.has(element)) order.push(element);
    }
  }
  for (const element of config) {
    passLive();
    order.push(element);
    if (element !== shared[0]) continue;
    if (live[position] === element) position++;
    shared.shift();
  }
  passLive();
  return order;
}
