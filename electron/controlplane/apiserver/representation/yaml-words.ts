// What is wrong with a YAML text, in go-yaml's words, which Kubernetes answers with. Its scanner tells the line of
// what it stopped at, its parser the one before, and neither tells the first.
// Differs: where go-yaml tells on which line a block inside of others began, this is where it went wrong.
// Source: go-yaml scannerc.go, parserc.go, decode.go (fail).
import type { ErrorCode, YAMLError } from 'yaml';

interface Words {
  readonly by: 'scanner' | 'parser';
  readonly words: string;
}

const scanner = (words: string): Words => ({ by: 'scanner', words });
const parser = (words: string): Words => ({ by: 'parser', words });

const noKey = parser('did not find expected key');
const strange = scanner('found character that cannot start any token');
const known: Partial<Record<ErrorCode, Words>> = {
  BAD_DQ_ESCAPE: scanner('found unknown escape character'),
  BAD_INDENT: noKey,
  BAD_SCALAR_START: strange,
  BLOCK_AS_IMPLICIT_KEY: scanner('mapping values are not allowed in this context'),
  MULTILINE_IMPLICIT_KEY: scanner("could not find expected ':'"),
  TAB_AS_INDENT: strange,
};

/** One line. */
export function yamlWords({ code, message, pos: [at] }: YAMLError, text: string): string {
  const found = wordsOf(code, { message, rest: text.slice(at) });
  if (found === undefined) return message;
  const isAtEnd = /^(?:Flow (?:map|sequence)|Missing closing)/.test(message);
  const lines = text.slice(0, isAtEnd && found.by === 'parser' ? text.length : at).split('\n');
  const before = lines.length - 1;
  if (before === 0) return found.words;
  return `line ${found.by === 'scanner' ? before + 1 : before}: ${found.words}`;
}

function wordsOf(
  code: ErrorCode,
  { message, rest }: { readonly message: string; readonly rest: string },
): Words | undefined {
  if (message.startsWith('Flow map')) return parser("did not find expected ',' or '}'");
  if (message.startsWith('Flow sequence')) return parser("did not find expected ',' or ']'");
  if (message.startsWith('Missing closing')) return scanner('found unexpected end of stream');
  if (code === 'UNEXPECTED_TOKEN') {
    if (message.includes('block-seq-ind on same line'))
      return scanner('block sequence entries are not allowed in this context');
    return message.includes('in YAML document')
      ? parser('did not find expected node content')
      : noKey;
  }
  if (code === 'MULTILINE_IMPLICIT_KEY' && /^-\s/.test(rest)) return noKey;
  return known[code];
}

/** Of an alias to what has no such name, and of all else that shows only when the value is made. */
export function valueWords(error: unknown): string {
  const { message } = error as Error;
  const name = /^Unresolved alias .*: (.+)$/.exec(message)?.[1];
  return name === undefined ? message : `unknown anchor '${name}' referenced`;
}
