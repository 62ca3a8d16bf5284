// Property tests get fast-check from properties.ts, whichever file asks for it.
import type { Plugin } from 'vite';

const properties = new URL('properties.ts', import.meta.url).pathname;

export const seeded: Plugin = {
  name: 'seeded',
  enforce: 'pre',
  resolveId: (id, importer) =>
    id === 'fast-check' && importer !== properties ? properties : undefined,
};
