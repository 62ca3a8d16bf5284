// What `fast-check` is to the tests (vitest.config.ts puts it in its place): itself, but in CI it always
// draws the same, so that a red run is its change's doing. Elsewhere each run tries new cases; one that
// fails prints its seed.
import { configureGlobal } from 'fast-check';

const ciSeed = 1;
// `.ci/run` says so, whatever the machine's own variables are.
const isCi = process.env['CI'] === 'true' || process.env['FLOTILLA_FIXED_SEED'] === '1';
if (isCi) configureGlobal({ seed: ciSeed });

export * from 'fast-check';
