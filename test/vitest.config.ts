import { defineConfig } from 'vitest/config';
import vue from '@vitejs/plugin-vue';
import { seeded } from './setup/seeded.ts';

const unit = [
  'electron/**/*.test.ts',
  'agent/**/*.test.ts',
  'renderer/**/*.test.ts',
  'test/*.test.ts',
  'test/sim/**/*.test.ts',
  'test/interaction/**/*.test.ts',
];

export default defineConfig({
  plugins: [vue(), seeded],
  test: {
    root: new URL('..', import.meta.url).pathname,
    projects: [
      // A busy machine is no failure: only what hangs runs into this.
      {
        extends: true,
        test: {
          name: 'unit',
          include: unit,
          pool: 'threads',
          // Modules keep nothing of their own: to load them again for each file takes as long as most tests.
          isolate: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'system',
          include: ['test/{compat,e2e}/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});
