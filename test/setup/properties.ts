// What `fast-check` is to the tests (vitest.config.ts puts it in its place): itself, but in CI it always
// draws the same, so that a red run is its change's doing. Elsewhere each run tries new cases; one that
// fails prints its seed.
import { configureGlobal } from 'fast-check';

const ciSeed = 1;
if (process.env['CI'] === 'true') configureGlobal({ seed: ciSeed });

export * from 'fast-check';
