// JSON as Kubernetes reads it: exactJson for the value, and a scanner of our own for what
// JSON.parse does not tell: Go's wording of syntax errors, keys given twice, and how deep it goes.
// Source of the wording: Go encoding/json scanner.go; sigs.k8s.io/json for duplicate fields.
import { exactJson } from './exact-json.ts';
import { badRequest } from './status.ts';

export interface ParsedJson {
  readonly value: unknown;
  /** `duplicate field "spec.replicas"`, in the order of the text; only when asked for. */
  readonly duplicates: readonly string[];
}

export interface ParseJsonOptions {
  readonly findDuplicates?: boolean;
}

/** Deeper values could exhaust the stack of whoever walks them. Kubernetes stops at 10000. */
const maxDepth = 1000;
const maxDuplicates = 100;
/** Escapes, and control characters, which are illegal. */
// oxlint-disable-next-line no-control-regex
const needsCare = /[\\\u0000-\u001F]/;

/** Throws 400 with Go's wording, such as `unexpected end of JSON input`. */
export function parseJson(text: string, options: ParseJsonOptions = {}): ParsedJson {
  if (depthOf(text) > maxDepth) throw badRequest('exceeded max depth');
  let value: unknown;
  try {
    value = exactJson(text);
  } catch {
    // The scanner finds the same error and says it in Go's words.
    new Scanner(text).scan();
    throw badRequest('invalid character in JSON input');
  }
  const duplicates = options.findDuplicates === true ? new Scanner(text).scan() : [];
  return { value, duplicates };
}

/** The deepest nesting of brackets outside strings; one pass, no recursion. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === 0x22) index = stringEnd(text, index);
    else if (code === 0x7b || code === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (code === 0x7d || code === 0x5d) depth--;
  }
  return deepest;
}

/** Index of the closing quote of the string that opens at `start`; past the end if unclosed. */
function stringEnd(text: string, start: number): number {
  for (let index = start + 1; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === 0x5c) index++;
    else if (code === 0x22) return index;
  }
  return text.length;
}

/** Walks one JSON text. Recursion is bounded by maxDepth, checked before. */
class Scanner {
  #position = 0;
  readonly #text: string;
  readonly #duplicates = new Set<string>();

  constructor(text: string) {
    this.#text = text;
  }

  scan(): string[] {
    this.#value('');
    this.#skipSpace();
    if (this.#position < this.#text.length) throw this.#unexpected('after top-level value');
    return [...this.#duplicates];
  }

  #value(path: string): void {
    this.#skipSpace();
    const character = this.#text[this.#position];
    if (character === '{') this.#object(path);
    else if (character === '[') this.#array(path);
    else if (character === '"') this.#string();
    else if (character === 't') this.#literal('true');
    else if (character === 'f') this.#literal('false');
    else if (character === 'n') this.#literal('null');
    else if (character !== undefined && /[-0-9]/.test(character)) this.#number();
    else throw this.#unexpected('looking for beginning of value');
  }

  #object(path: string): void {
    const seen = new Set<string>();
    this.#position++;
    this.#skipSpace();
    if (this.#take('}')) return;
    for (;;) {
      this.#skipSpace();
      if (this.#text[this.#position] !== '"')
        throw this.#unexpected('looking for beginning of object key string');
      const key = this.#string();
      const keyPath = path === '' ? key : `${path}.${key}`;
      if (seen.has(key) && this.#duplicates.size < maxDuplicates)
        this.#duplicates.add(`duplicate field ${JSON.stringify(keyPath)}`);
      seen.add(key);
      this.#skipSpace();
      if (!this.#take(':')) throw this.#unexpected('after object key');
      this.#value(keyPath);
      this.#skipSpace();
      if (this.#take('}')) return;
      if (!this.#take(',')) throw this.#unexpected('after object key:value pair');
    }
  }

  #array(path: string): void {
    this.#position++;
    this.#skipSpace();
    if (this.#take(']')) return;
    for (let index = 0; ; index++) {
      this.#value(`${path}[${index}]`);
      this.#skipSpace();
      if (this.#take(']')) return;
      if (!this.#take(',')) throw this.#unexpected('after array element');
    }
  }

  #string(): string {
    const end = this.#text.indexOf('"', this.#position + 1);
    const plain = end < 0 ? undefined : this.#text.slice(this.#position + 1, end);
    if (plain === undefined || needsCare.test(plain)) return this.#carefulString();
    this.#position = end + 1;
    return plain;
  }

  /** With escapes, or with an error in it. */
  #carefulString(): string {
    const start = this.#position++;
    for (; this.#position < this.#text.length; this.#position++) {
      const character = this.#text[this.#position] ?? '';
      if (character === '"') {
        this.#position++;
        return JSON.parse(this.#text.slice(start, this.#position)) as string;
      }
      if (character < ' ') throw this.#unexpected('in string literal');
      if (character === '\\') this.#escape();
    }
    throw this.#unexpected('');
  }

  #escape(): void {
    const escaped = this.#text[++this.#position] ?? '';
    if (escaped === '') throw this.#unexpected('');
    if (!'"\\/bfnrtu'.includes(escaped)) throw this.#unexpected('in string escape code');
    const digits = escaped === 'u' ? 4 : 0;
    for (let digit = 0; digit < digits; digit++)
      if (!/[0-9a-fA-F]/.test(this.#text[++this.#position] ?? ''))
        throw this.#unexpected('in \\u hexadecimal character escape');
  }

  #literal(word: string): void {
    for (let index = 0; index < word.length; index++) {
      if (this.#text[this.#position] !== word[index])
        throw this.#unexpected(`in literal ${word} (expecting '${word[index]}')`);
      this.#position++;
    }
  }

  #number(): void {
    this.#take('-');
    if (!this.#take('0')) this.#digits('in numeric literal');
    if (this.#take('.')) this.#digits('after decimal point in numeric literal');
    if (!this.#take('e') && !this.#take('E')) return;
    if (!this.#take('+')) this.#take('-');
    this.#digits('in exponent of numeric literal');
  }

  #digits(where: string): void {
    const start = this.#position;
    while (/[0-9]/.test(this.#text[this.#position] ?? '')) this.#position++;
    if (this.#position === start) throw this.#unexpected(where);
  }

  #take(character: string): boolean {
    if (this.#text[this.#position] !== character) return false;
    this.#position++;
    return true;
  }

  #skipSpace(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#position);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#position++;
    }
  }

  #unexpected(where: string): Error {
    const character = this.#text[this.#position];
    if (character === undefined) return badRequest('unexpected end of JSON input');
    return badRequest(`invalid character ${quoted(character)} ${where}`);
  }
}

/** Go's form of a character: in single quotes, with Go's escapes. */
function quoted(character: string): string {
  if (character === "'") return String.raw`'\''`;
  if (character === '"') return `'"'`;
  return `'${JSON.stringify(character).slice(1, -1)}'`;
}
