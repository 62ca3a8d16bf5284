// What is wrong with an applied configuration, in the words of Kubernetes' typed values: fields that
// its type does not have, values of a wrong type, items without their key or twice.
// Source: sigs.k8s.io/structured-merge-diff typed/{validate,helpers}.go.
import { isObject } from '../equality.ts';
import { fieldSchema, type Schema } from '../schema.ts';
import { elementText, fieldElement } from './field-set.ts';
import type { Shape, Shapes } from './shapes.ts';

const maxMistakes = 100;

/** '' when there is nothing to say. */
export function findMistakes(shapes: Shapes, schema: Schema, config: unknown): string {
  const found: string[] = [];
  walk({ shapes, found }, schema, { value: config, path: '' });
  if (found.length < 2) return found[0] ?? '';
  return ['errors:', ...found.slice(0, maxMistakes).map((text) => `  ${text}`)].join('\n');
}

interface Search {
  readonly shapes: Shapes;
  readonly found: string[];
}

interface Place {
  readonly value: unknown;
  readonly path: string;
}

function walk(search: Search, given: Schema, place: Place): void {
  const { shapes } = search;
  if (place.value === null || search.found.length > maxMistakes) return;
  const schema = shapes.registry.resolve(given);
  if (schema['x-kubernetes-preserve-unknown-fields'] === true) return;
  if (schema['x-kubernetes-int-or-string'] === true) return scalar(search, place, 'any scalar');
  if (schema.properties !== undefined || schema.additionalProperties !== undefined)
    return fields(search, schema, place);
  switch (schema.type) {
    case 'array':
      return list(search, given, place);
    case 'integer':
    case 'number':
      return scalar(search, place, 'numeric (int or float)');
    case 'string':
    case 'boolean':
      return scalar(search, place, schema.type);
    default:
  }
}

const typesOf: Readonly<Record<string, readonly string[]>> = {
  'any scalar': ['string', 'number', 'bigint', 'boolean'],
  'numeric (int or float)': ['number', 'bigint'],
};

function scalar(search: Search, place: Place, wanted: string): void {
  if ((typesOf[wanted] ?? [wanted]).includes(typeof place.value)) return;
  say(search, place.path, `expected ${wanted}, got ${goText(wanted, place.value)}`);
}

function fields(search: Search, schema: Schema, { value, path }: Place): void {
  if (!isObject(value)) return say(search, path, `expected map, got ${goValue(value)}`);
  for (const key of Object.keys(value)) {
    const child = fieldSchema(schema, key);
    const at = path + elementText(fieldElement(key));
    if (child === undefined) say(search, at, 'field not declared in schema');
    else walk(search, child, { value: value[key], path: at });
  }
}

function list(search: Search, given: Schema, { value, path }: Place): void {
  if (!Array.isArray(value)) return say(search, path, `expected list, got ${goValue(value)}`);
  const { shapes } = search;
  const schema = shapes.registry.resolve(given);
  const shape = shapes.of(given, value);
  const seen = new Set<string>();
  const parts = shape.kind === 'items' ? shapes.parts(shape, value) : [];
  for (const [index, item] of value.entries()) {
    const mistake = shape.kind === 'items' ? itemMistake(shapes, shape, item) : '';
    if (mistake !== '') {
      say(search, path, `element ${index}: ${mistake}`);
      continue;
    }
    const element = parts[index]?.element;
    const name = element === undefined ? `[${index}]` : elementText(element);
    if (element !== undefined && seen.has(element))
      say(search, path, `duplicate entries for key ${name}`);
    if (element !== undefined) seen.add(element);
    if (schema.items !== undefined)
      walk(search, schema.items, { value: item, path: `${path}${name}` });
  }
}

function itemMistake(shapes: Shapes, shape: Shape & { kind: 'items' }, item: unknown): string {
  const { keys } = shape;
  if (keys.length === 0) {
    if (isObject(item)) return "associative list without keys has an element that's a map type";
    if (Array.isArray(item)) return 'not supported: associative list with lists as elements';
    return item === null
      ? "associative list without keys has an element that's an explicit null"
      : '';
  }
  if (item === null) return 'associative list with keys may not have a null element';
  if (!isObject(item)) return 'associative list with keys may not have non-map elements';
  const key = shapes.keyOf(keys, shape.item, item);
  const missing = keys.find((name) => key[name] === undefined);
  return missing === undefined
    ? ''
    : `associative list with keys has an element that omits key field ${JSON.stringify(missing)} (and doesn't have default value)`;
}

function say({ found }: Search, path: string, what: string): void {
  found.push(path === '' ? what : `${path}: ${what}`);
}

/** Go prints a value that is no string with its type, one that is no number by its type alone. */
function goText(wanted: string, value: unknown): string {
  if (wanted === 'string') return `&value.valueUnstructured{Value:${goSyntax(value)}}`;
  return wanted.startsWith('numeric') ? goType(value) : goValue(value);
}

function goSyntax(value: unknown): string {
  if (Array.isArray(value)) return `[]interface {}{${value.map(goSyntax).join(', ')}}`;
  if (!isObject(value)) return JSON.stringify(value);
  const entries = Object.keys(value).toSorted();
  const pairs = entries.map((key) => `${JSON.stringify(key)}:${goSyntax(value[key])}`);
  return `map[string]interface {}{${pairs.join(', ')}}`;
}

function goType(value: unknown): string {
  if (Array.isArray(value)) return '[]interface {}';
  if (isObject(value)) return 'map[string]interface {}';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

/** As Go's `%v` prints it. */
export function goValue(value: unknown): string {
  if (value === null || value === undefined) return '<nil>';
  if (Array.isArray(value)) return `[${value.map(goValue).join(' ')}]`;
  if (typeof value === 'string') return value;
  if (!isObject(value)) return JSON.stringify(value);
  const entries = Object.keys(value).toSorted();
  return `map[${entries.map((key) => `${key}:${goValue(value[key])}`).join(' ')}]`;
}
