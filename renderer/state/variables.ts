// A pasted block of NAME=value lines, as in an .env file, as variables. Pure.
import type { VariableEntry } from './deploy-form.ts';

/** Empty unless every line that is not blank or a comment has the form NAME=value. */
export function parseVariables(text: string): VariableEntry[] {
  const variables: VariableEntry[] = [];
  for (const line of text.split('\n')) {
    const trimmed = line.trim();
    if (trimmed === '' || trimmed.startsWith('#')) continue;
    const match = /^(?:export\s+|-\s+)?([A-Za-z_][\w.-]*)=(.*)$/.exec(trimmed);
    if (match === null) return [];
    variables.push({ name: match[1] ?? '', value: unquote(match[2] ?? '') });
  }
  return variables;
}

function unquote(value: string): string {
  return /^(['"])(.*)\1$/.exec(value)?.[2] ?? value;
}
