// A deliberate mistake in one file, and who must notice it.
import { readFileSync } from 'node:fs';
import path from 'node:path';

export interface Mutation {
  readonly name: string;
  /** From the project's root. */
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly find: string;
  readonly replace: string;
  readonly caughtBy: NamedTest | Simulation;
}

export interface NamedMutation extends Mutation {
  readonly caughtBy: NamedTest;
}

export interface SimulatedMutation extends Mutation {
  readonly caughtBy: Simulation;
}

export interface NamedTest {
  readonly test: string;
  /** With the names of the groups around it. */
  readonly named: string;
}

/** One of these seeds must break this rule. */
export interface Simulation {
  readonly seeds: string;
  readonly rule: string;
}

export function isNamed(mutation: Mutation): mutation is NamedMutation {
  return 'named' in mutation.caughtBy;
}

export function isSimulated(mutation: Mutation): mutation is SimulatedMutation {
  return !isNamed(mutation);
}

const root = path.join(import.meta.dirname, '../..');

/** Throws when what it looks for is not there, or not only once. */
export function mutated({ name, file, find, replace }: Mutation, text: string): string {
  const count = text.split(find).length - 1;
  if (count !== 1)
    throw new Error(`mutation ${name}: its text occurs ${count} times in ${file}, not once`);
  return text.replace(find, () => replace);
}

export function check(mutation: Mutation): void {
  mutated(mutation, readFileSync(path.join(root, mutation.file), 'utf8'));
}

export function isMutated(mutation: Mutation, file: string): boolean {
  return file === path.join(root, mutation.file);
}
