// Patterns by RE2: their time grows with the text's length, never more.
import { RE2JS } from 're2js';

const maxPatterns = 1000;

/** All of it throws an Error for what is no pattern. */
export interface Patterns {
  /** Whether it is found anywhere in the text. */
  matches(pattern: string, text: string): boolean;
  /** What is found, one after the other; a negative limit is none. */
  findAll(pattern: string, text: string, limit: number): string[];
}

export function createPatterns(): Patterns {
  const compiled = new Map<string, RE2JS>();
  const compile = (pattern: string): RE2JS => {
    let expression = compiled.get(pattern);
    if (expression === undefined) {
      expression = RE2JS.compile(pattern);
      if (compiled.size >= maxPatterns) compiled.clear();
      compiled.set(pattern, expression);
    }
    return expression;
  };
  return {
    matches: (pattern, text) => compile(pattern).test(text),
    findAll(pattern, text, limit) {
      const found: string[] = [];
      const matcher = compile(pattern).matcher(text);
      while (found.length !== limit && matcher.find()) found.push(matcher.group() ?? '');
      return found;
    },
  };
}
