// Objects as YAML text and back. Pure. Serving order of fields is kubectl's: apiVersion, kind,
// metadata, then the rest; managedFields are left out as noise.
import {
  parseAllDocuments,
  stringify,
  type CreateNodeOptions,
  type DocumentOptions,
  type SchemaOptions,
  type ToStringOptions,
} from 'yaml';
import type { KubeObject } from '#kube/api/object.ts';
import { readTags, writeTags } from '#kube/machinery/yaml-tags.ts';

const writing: CreateNodeOptions & SchemaOptions & DocumentOptions & ToStringOptions = {
  version: '1.1',
  customTags: (tags) => [...writeTags, ...tags],
  lineWidth: 0,
  aliasDuplicateObjects: false,
};

/** As kubectl reads it. */
const reading: SchemaOptions = { customTags: (tags) => [...readTags, ...tags], merge: true };

export function toYaml(objects: readonly object[]): string {
  return objects.map((object) => stringify(tidy(object), writing)).join('---\n');
}

/** Without managedFields, and with the head of the object first. */
function tidy(object: object): object {
  const { apiVersion, kind, metadata, ...rest } = object as Partial<KubeObject>;
  if (metadata === undefined) return object;
  const { managedFields: _managedFields, ...shown } = metadata;
  return { apiVersion, kind, metadata: shown, ...rest };
}

export type ParsedYaml =
  | { readonly kind: 'objects'; readonly objects: KubeObject[] }
  | { readonly kind: 'error'; readonly message: string; readonly line: number | undefined };

/** Every document must be an object with apiVersion, kind and metadata.name. */
export function fromYaml(text: string): ParsedYaml {
  const objects: KubeObject[] = [];
  for (const document of parseAllDocuments(text, reading)) {
    const error = document.errors[0];
    if (error !== undefined) {
      const message = error.message.split('\n')[0]?.replace(/ at line \d+, column \d+:?$/, '');
      return { kind: 'error', message: message ?? error.message, line: error.linePos?.[0].line };
    }
    const value: unknown = document.toJS();
    if (value === null) continue;
    const lacking = whatIsLacking(value);
    if (lacking !== undefined) return { kind: 'error', message: lacking, line: undefined };
    objects.push(value as KubeObject);
  }
  if (objects.length === 0)
    return { kind: 'error', message: 'There is no object in it yet', line: undefined };
  return { kind: 'objects', objects };
}

function whatIsLacking(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return 'An object begins with apiVersion and kind';
  const { apiVersion, kind, metadata } = value as Partial<KubeObject>;
  if (typeof apiVersion !== 'string') return 'An object has no apiVersion';
  if (typeof kind !== 'string') return 'An object has no kind';
  if (typeof metadata?.name !== 'string') return `The ${kind} has no metadata.name`;
  return undefined;
}

export type TokenKind = 'key' | 'string' | 'number' | 'comment' | 'mark' | 'plain';
export interface YamlToken {
  readonly kind: TokenKind;
  readonly text: string;
}

/** For colouring only: one line into tokens whose texts join to the line again. */
export function tokenizeYamlLine(line: string): YamlToken[] {
  const match = /^(\s*(?:- )*)((?:"[^"]*"|'[^']*'|[^\s#:'"][^:#]*?))(:)(?=\s|$)(.*)$/.exec(line);
  if (match === null) {
    const [, indent = '', rest = ''] = /^(\s*(?:- )*)(.*)$/.exec(line) ?? [];
    return compact([{ kind: 'mark', text: indent }, valueToken(rest)]);
  }
  const [, indent = '', key = '', colon = '', rest = ''] = match;
  return compact([
    { kind: 'mark', text: indent },
    { kind: 'key', text: key },
    { kind: 'mark', text: colon },
    valueToken(rest),
  ]);
}

function valueToken(text: string): YamlToken {
  const value = text.trim();
  if (value.startsWith('#') || value === '---') return { kind: 'comment', text };
  if (/^(-?\d[\d.]*|true|false|null|~|\{\}|\[\])$/.test(value)) return { kind: 'number', text };
  return { kind: value === '|' || value === '>' ? 'mark' : 'string', text };
}

function compact(tokens: YamlToken[]): YamlToken[] {
  return tokens.filter(({ text }) => text !== '');
}
