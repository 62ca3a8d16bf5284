// The text form of label selectors: a lexer and a recursive-descent parser that fail with the
// same sentences as Kubernetes. Meaning and matching live in selector.ts and label-requirement.ts.
// Source: kubernetes apimachinery pkg/labels/selector.go (Lexer, Parser).
import { field, fieldErrorText } from './field.ts';
import {
  keyError,
  makeRequirement,
  type LabelOperator,
  type LabelRequirement,
} from './label-requirement.ts';
import { badRequest, StatusError } from './status.ts';

type TokenType =
  | 'identifier'
  | 'end'
  | 'in'
  | 'notin'
  | '='
  | '=='
  | '!='
  | '!'
  | '('
  | ')'
  | ','
  | '>'
  | '<';

interface Token {
  readonly type: TokenType;
  /** As written; '' at the end. */
  readonly literal: string;
}

const symbols: ReadonlySet<string> = new Set(['=', '==', '!=', '!', '(', ')', ',', '>', '<']);
const operators: ReadonlyMap<TokenType, LabelOperator> = new Map([
  ['in', 'in'],
  ['notin', 'notin'],
  ['=', '='],
  ['==', '=='],
  ['!=', '!='],
  ['>', 'gt'],
  ['<', 'lt'],
]);

/** All requirements of a selector text. Throws 400 with Kubernetes' message. */
export function parseRequirements(text: string): LabelRequirement[] {
  const tokens = new Tokens(lex(text));
  const requirements: LabelRequirement[] = [];
  for (;;) {
    const next = tokens.peekValue();
    if (next.type === 'end') return requirements;
    if (next.type !== 'identifier' && next.type !== '!')
      throw expected(next, "!, identifier, or 'end of string'");
    requirements.push(parseRequirement(tokens));
    const separator = tokens.takeValue();
    if (separator.type === 'end') return requirements;
    if (separator.type !== ',') throw expected(separator, "',' or 'end of string'");
    const after = tokens.peekValue();
    if (after.type !== 'identifier' && after.type !== '!')
      throw expected(after, "identifier after ','");
  }
}

function parseRequirement(tokens: Tokens): LabelRequirement {
  try {
    return parseUnwrapped(tokens);
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    throw badRequest(`unable to parse requirement: ${error.message}`);
  }
}

function parseUnwrapped(tokens: Tokens): LabelRequirement {
  let token = tokens.takeValue();
  const isNegated = token.type === '!';
  if (isNegated) token = tokens.takeValue();
  if (token.type !== 'identifier') throw expected(token, 'identifier');
  const key = token.literal;
  const wrong = keyError(key, field('<nil>'));
  if (wrong !== undefined) throw badRequest(fieldErrorText(wrong));
  if (isNegated) return makeRequirement(key, '!', []);
  const next = tokens.peekValue();
  if (next.type === 'end' || next.type === ',') return makeRequirement(key, 'exists', []);
  const operatorToken = tokens.takeRaw();
  const operator = operators.get(operatorToken.type);
  if (operator === undefined) throw expected(operatorToken, 'in, notin, =, ==, !=, gt, lt');
  const isSet = operator === 'in' || operator === 'notin';
  return makeRequirement(key, operator, isSet ? parseSet(tokens) : [parseExactValue(tokens)]);
}

/** `(a,b)`; an empty place between commas stands for the empty value. */
function parseSet(tokens: Tokens): string[] {
  const open = tokens.takeValue();
  if (open.type !== '(') throw badRequest(`found '${open.literal}' expected: '('`);
  const first = tokens.peekValue();
  if (first.type === ')') {
    tokens.takeValue();
    return [];
  }
  if (first.type !== 'identifier' && first.type !== ',')
    throw expected(first, "',', ')' or identifier");
  const values: string[] = [];
  for (;;) {
    const token = tokens.takeValue();
    if (token.type === 'identifier') {
      values.push(token.literal);
      const next = tokens.takeValue();
      if (next.type === ')') return values;
      if (next.type !== ',') throw expected(next, "',' or ')'");
      if (tokens.peekValue().type === ')') values.push('');
    } else if (token.type === ',') values.push('');
    else if (token.type === ')') return [...values, ''];
    else throw expected(token, "',', or identifier");
  }
}

function parseExactValue(tokens: Tokens): string {
  const next = tokens.peekValue();
  if (next.type === 'end' || next.type === ',') return '';
  const token = tokens.takeValue();
  if (token.type !== 'identifier') throw expected(token, 'identifier');
  return token.literal;
}

function expected(found: Token, what: string): StatusError {
  return badRequest(`found '${found.literal}', expected: ${what}`);
}

/** The token stream. Where a value may stand, the words `in` and `notin` are values too. */
class Tokens {
  #position = 0;
  readonly #tokens: readonly Token[];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  peekValue(): Token {
    const token = this.#tokens[this.#position] ?? { type: 'end', literal: '' };
    return token.type === 'in' || token.type === 'notin' ? { ...token, type: 'identifier' } : token;
  }

  takeValue(): Token {
    const token = this.peekValue();
    this.#position++;
    return token;
  }

  takeRaw(): Token {
    return this.#tokens[this.#position++] ?? { type: 'end', literal: '' };
  }
}

function lex(text: string): Token[] {
  const tokens: Token[] = [];
  for (const [literal] of text.matchAll(/[=!]=|[=!(),<>]|[^=!(),<>\s]+/g)) {
    if (symbols.has(literal)) tokens.push({ type: literal as TokenType, literal });
    else if (literal === 'in' || literal === 'notin') tokens.push({ type: literal, literal });
    else tokens.push({ type: 'identifier', literal });
  }
  return tokens;
}
