// Field selectors: `metadata.name=web,status.phase!=Running`. Which fields a kind offers is
// the resource table's business, not known here.
// Source: kubernetes apimachinery pkg/fields/selector.go.
import { badRequest } from './status.ts';

export interface FieldTerm {
  readonly field: string;
  readonly operator: '=' | '!=';
  readonly value: string;
}

export interface FieldMatcher {
  /** `valueOf` gives a field's value as text; an unset field is ''. */
  matches(valueOf: (field: string) => string): boolean;
  toString(): string;
  readonly isEverything: boolean;
  readonly terms: readonly FieldTerm[];
  /** The value that `field` must have, if the selector demands one. */
  exactValue(field: string): string | undefined;
}

export const everyField: FieldMatcher = fieldMatcher([]);

/** Throws 400 with Kubernetes' message. */
export function parseFieldSelector(text: string): FieldMatcher {
  return fieldMatcher(
    splitTerms(text)
      .filter((term) => term !== '')
      .map((term) => parseTerm(term, text)),
  );
}

export function fieldMatcher(terms: readonly FieldTerm[]): FieldMatcher {
  return {
    matches: (valueOf) =>
      terms.every((term) => (valueOf(term.field) === term.value) === (term.operator === '=')),
    toString: () =>
      terms.map((t) => `${t.field}${t.operator}${escapeFieldValue(t.value)}`).join(','),
    isEverything: terms.length === 0,
    terms,
    exactValue: (name) => terms.find((t) => t.field === name && t.operator === '=')?.value,
  };
}

/** Backslash, comma and equals sign have a meaning of their own in the text form. */
export function escapeFieldValue(value: string): string {
  return value.replaceAll(/[\\,=]/g, (special) => `\\${special}`);
}

function splitTerms(text: string): string[] {
  const terms: string[] = [];
  let start = 0;
  for (let index = 0; index < text.length; index++) {
    if (text[index] === '\\') index++;
    else if (text[index] === ',') {
      terms.push(text.slice(start, index));
      start = index + 1;
    }
  }
  terms.push(text.slice(start));
  return terms;
}

function parseTerm(term: string, whole: string): FieldTerm {
  const match = /!=|==?/.exec(term);
  if (match === null) throw badRequest(`invalid selector: '${whole}'; can't understand '${term}'`);
  const value = unescapeValue(term.slice(match.index + match[0].length));
  return { field: term.slice(0, match.index), operator: match[0] === '!=' ? '!=' : '=', value };
}

function unescapeValue(text: string): string {
  let value = '';
  for (let index = 0; index < text.length; index++) {
    const character = text[index] ?? '';
    if (character === '=' || character === ',')
      throw badRequest(`invalid field selector: unescaped character in value: ${character}`);
    if (character !== '\\') {
      value += character;
      continue;
    }
    const escaped = text[++index] ?? '';
    if (escaped === '' || !'\\,='.includes(escaped))
      throw badRequest(`invalid field selector: invalid escape sequence: \\${escaped}`);
    value += escaped;
  }
  return value;
}
