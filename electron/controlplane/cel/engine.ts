// The expressions of admission, loaded when the first one comes: the library is large, and most
// clusters' start has no time for it.
import { assert } from '#kube/base/assert.ts';
import type { AdmissionExpressions } from './admission.ts';

export type { AdmissionExpressions, Surroundings } from './admission.ts';
export type { TypeScope } from './admission-types.ts';

// Like the module it stands for, there is one for the process.
let engine: typeof import('./admission.ts') | undefined;
let expressions: AdmissionExpressions | undefined;

export async function loadExpressions(): Promise<AdmissionExpressions> {
  engine ??= await import('./admission.ts');
  expressions ??= new engine.AdmissionExpressions();
  return expressions;
}

/** Loaded before by whoever needs them. */
export function admissionExpressions(): AdmissionExpressions {
  assert(expressions, 'the expressions were loaded before they are used');
  return expressions;
}
