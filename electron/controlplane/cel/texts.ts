// Functions of texts: patterns, cel-go's extensions, and of the library's own those that need another
// implementation here, since one call must not cost the server dear.
// Source: kubernetes apiserver pkg/cel/library/regex.go, cel-go ext/strings.go.
import type { Environment } from '@marcbachmann/cel-js';
import { Duration } from '@marcbachmann/cel-js/evaluator';
import type { Budget } from './budget.ts';
import { durationText, timeText } from './durations.ts';
import { formatted } from './formatting.ts';
import { registerNamespace } from './namespaces.ts';
import type { Patterns } from './patterns.ts';

/** Calls of these names mean another function here: the library's can take as long as one likes. */
export const replaced: Readonly<Record<string, string>> = {
  matches: 'boundedMatches',
  join: 'boundedJoin',
};

const maxTextLength = 3 * 1024 * 1024;

export interface TextDeps {
  readonly budget: Budget;
  readonly patterns: Patterns;
}

export function registerTexts(env: Environment, deps: TextDeps): void {
  registerPatterns(env, deps);
  registerReplacements(env, deps);
  registerStrings(env, deps);
  registerTimes(env);
}

function registerPatterns(env: Environment, { budget, patterns }: TextDeps): void {
  const spend = (text: string, pattern: string): void =>
    budget.spend((text.length * Math.max(1, pattern.length)) / 50);
  const test = (text: string, pattern: string): boolean => {
    spend(text, pattern);
    return patterns.matches(pattern, text);
  };
  env.registerFunction('string.boundedMatches(string): bool', test);
  env.registerFunction('boundedMatches(string, string): bool', test);
  const findAll = (text: string, pattern: string, limit: number): string[] => {
    spend(text, pattern);
    return patterns.findAll(pattern, text, limit);
  };
  env.registerFunction(
    'string.find(string): string',
    (text: string, pattern: string) => findAll(text, pattern, 1)[0] ?? '',
  );
  env.registerFunction('string.findAll(string): list<string>', (text: string, pattern: string) =>
    findAll(text, pattern, -1),
  );
  env.registerFunction(
    'string.findAll(string, int): list<string>',
    (text: string, pattern: string, limit: bigint) => findAll(text, pattern, Number(limit)),
  );
}

function registerReplacements(env: Environment, { budget }: TextDeps): void {
  const join = (list: readonly string[], separator: string): string => {
    const length = list.reduce((sum, one) => sum + one.length + separator.length, 0);
    if (length > maxTextLength) budget.spend(Number.POSITIVE_INFINITY);
    return list.join(separator);
  };
  env.registerFunction('list<string>.boundedJoin(): string', (list: string[]) => join(list, ''));
  env.registerFunction('list<string>.boundedJoin(string): string', join);
  const replace = (text: string, old: string, next: string, limit: number): string => {
    const count = old === '' ? Array.from(text).length + 1 : text.split(old).length - 1;
    const done = limit < 0 ? count : Math.min(count, limit);
    if (text.length + done * next.length > maxTextLength) budget.spend(Number.POSITIVE_INFINITY);
    let rest = done;
    if (old === '') {
      const parts = Array.from(text);
      return parts.map((part) => (rest-- > 0 ? next : '') + part).join('') + (rest > 0 ? next : '');
    }
    const parts = text.split(old);
    return parts.reduce((made, part) => made + (rest-- > 0 ? next : old) + part);
  };
  env.registerFunction(
    'string.replace(string, string): string',
    (text: string, old: string, next: string) => replace(text, old, next, -1),
  );
  env.registerFunction(
    'string.replace(string, string, int): string',
    (text: string, old: string, next: string, limit: bigint) =>
      replace(text, old, next, Number(limit)),
  );
}

const escapes: Readonly<Record<string, string>> = {
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
  '"': '\\"',
};

function registerStrings(env: Environment, { budget }: TextDeps): void {
  env.registerFunction('string.charAt(int): string', (text: string, at: bigint) => {
    const characters = Array.from(text);
    if (at < 0n || at > BigInt(characters.length)) throw new Error(`index out of range: ${at}`);
    return characters[Number(at)] ?? '';
  });
  env.registerFunction('string.format(list): string', (text: string, values: readonly unknown[]) =>
    formatted(text, values, budget),
  );
  registerNamespace(env, 'strings', 'StringsNamespace');
  env.registerFunction(
    'StringsNamespace.quote(string): string',
    (_: unknown, text: string) => `"${Array.from(text, (one) => escapes[one] ?? one).join('')}"`,
  );
}

/** Conversions of times and durations that the library has not. */
function registerTimes(env: Environment): void {
  const time = 'google.protobuf.Timestamp';
  const duration = 'google.protobuf.Duration';
  env.registerFunction(`string(${time}): string`, timeText);
  env.registerFunction(`string(${duration}): string`, (one: Duration) => durationText(one));
  env.registerFunction(`int(${time}): int`, (one: Date) =>
    BigInt(Math.floor(one.getTime() / 1000)),
  );
  env.registerFunction(`timestamp(${time}): ${time}`, (one: Date) => one);
  env.registerFunction(`duration(${duration}): ${duration}`, (one: Duration) => one);
}
