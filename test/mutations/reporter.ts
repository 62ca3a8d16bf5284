// Tells which tests failed of each mutation, a line of JSON for each as soon as it is known.
import type { Reporter, TestModule } from 'vitest/node';

export interface Verdict {
  readonly mutation: string;
  /** Full names. */
  readonly failed: readonly string[];
  /** Why the file as a whole could not run. */
  readonly errors: readonly string[];
}

export default class MutationReporter implements Reporter {
  onTestModuleEnd(module: TestModule): void {
    const failed = [...module.children.allTests('failed')].map(({ fullName }) => fullName);
    const errors = module.errors().map(({ message }) => message);
    const verdict: Verdict = { mutation: module.project.name, failed, errors };
    process.stdout.write(`${JSON.stringify(verdict)}\n`);
  }
}
