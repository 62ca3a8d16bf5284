// A YAML text as the JSON it stands for, and a value as YAML. YAML lets a short text stand for an endless one: aliases
// are bounded by the library, keys that are no scalars and results past a limit are refused here.
// How long it takes is not bounded here: see yaml.ts.
// Source: sigs.k8s.io/yaml (YAML is read as JSON: keys are texts), go-yaml for the wording.
import '#kube/machinery/exact-json.ts';
import { isScalar, parseDocument, stringify, visit, type Document } from 'yaml';
import { readTags, writeTags } from '#kube/machinery/yaml-tags.ts';
import { valueWords, yamlWords } from './yaml-words.ts';

/** A body says at most 3 MiB; as JSON it is longer only if it repeats itself, or is all commas. */
const jsonLengthMax = 6 * 1024 * 1024;

export interface YamlAsJson {
  readonly json: string;
  /** `line 2: key "a" already set in map`: the last one counts. */
  readonly duplicates: readonly string[];
}

const maxDuplicates = 100;

/** Throws an Error with one line for whatever is wrong with the text. */
export function yamlToJson(text: string): YamlAsJson {
  // The library looks for repeated keys by comparing all with all; pretty errors quote the text.
  const document = parseDocument(text, {
    logLevel: 'error',
    uniqueKeys: false,
    prettyErrors: false,
    intAsBigInt: true,
    merge: true,
    customTags: (tags) => [...readTags, ...tags],
  });
  const [error] = document.errors;
  if (error !== undefined) throw new Error(yamlWords(error, text));
  const duplicates = checkNodes(document, text);
  const json = JSON.stringify(valueOf(document)) ?? 'null';
  if (json.length > jsonLengthMax) throw new Error('document contains excessive aliasing');
  return { json, duplicates };
}

function valueOf(document: Document): unknown {
  try {
    return document.toJS();
  } catch (error) {
    throw new Error(valueWords(error), { cause: error });
  }
}

/** As Kubernetes writes it: lists are not indented, nothing is folded or referred to. */
export function toYaml(value: unknown): string {
  return stringify(value, {
    version: '1.1',
    customTags: (tags) => [...writeTags, ...tags],
    indentSeq: false,
    lineWidth: 0,
    aliasDuplicateObjects: false,
  });
}

function checkNodes(document: Document, text: string): string[] {
  const duplicates: string[] = [];
  visit(document, {
    Map(_key, { items }) {
      const repeated = checkKeys(items.map(({ key }) => key));
      for (const { name, offset } of repeated.slice(0, maxDuplicates - duplicates.length)) {
        const line = text.slice(0, offset).split('\n').length;
        duplicates.push(`line ${line}: key ${JSON.stringify(name)} already set in map`);
      }
    },
    Alias(_key, { source }, ancestors) {
      const isInside = ancestors.some((node) => 'anchor' in node && node.anchor === source);
      if (isInside) throw new Error(`anchor '${source}' value contains itself`);
    },
  });
  return duplicates;
}

/** A map as a key would be written out as text, and its own keys as well, without end. */
function checkKeys(keys: readonly unknown[]): { name: string; offset: number }[] {
  const seen = new Set<string>();
  const repeated: { name: string; offset: number }[] = [];
  for (const key of keys) {
    if (!isScalar(key)) throw new Error('invalid map key');
    const name = String(key.value);
    if (seen.has(name)) repeated.push({ name, offset: key.range?.[0] ?? 0 });
    seen.add(name);
  }
  return repeated;
}
