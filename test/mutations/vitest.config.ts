// One project for each mutation that FLOTILLA_MUTATIONS names (JSON), so that all of them share one
// process, one cache of modules and its workers.
import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'vitest/config';
import { seeded } from '../setup/seeded.ts';
import { mutations } from './list.ts';
import { isNamed } from './mutation.ts';
import { mutationPlugin } from './plugin.ts';

const names = new Set(JSON.parse(process.env['FLOTILLA_MUTATIONS'] ?? '[]') as string[]);

export default defineConfig({
  plugins: [vue(), seeded],
  test: {
    root: new URL('../..', import.meta.url).pathname,
    reporters: [new URL('reporter.ts', import.meta.url).pathname],
    projects: mutations.filter(isNamed).flatMap((mutation) => {
      const { name, caughtBy } = mutation;
      if (!names.has(name)) return [];
      const include = [caughtBy.test];
      const patience = { testTimeout: 60_000, hookTimeout: 60_000 };
      return {
        extends: true as const,
        plugins: [mutationPlugin(mutation)],
        test: { name, include, pool: 'threads' as const, ...patience },
      };
    }),
  },
});
