// A mutation, applied to its file as it is loaded: by Vite (a plugin), and by Node (hooks: the one
// that FLOTILLA_MUTATION names). The working tree is never touched.
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'vitest/config';
import { mutations } from './list.ts';
import { isMutated, mutated, type Mutation } from './mutation.ts';

export const variable = 'FLOTILLA_MUTATION';

/** Modules are cached on disk: the mutated one must not be taken for the true one, nor the reverse. */
export function mutationPlugin(mutation: Mutation): Plugin {
  return {
    name: 'mutation',
    enforce: 'pre',
    transform: (code, id) => (isMutated(mutation, id) ? mutated(mutation, code) : undefined),
    configureVitest({ defineCacheKeyGenerator }) {
      defineCacheKeyGenerator(({ id }) =>
        isMutated(mutation, id) ? JSON.stringify(mutation) : undefined,
      );
    },
  };
}

export function hookNode(): void {
  const mutation = mutations.find(({ name }) => name === process.env[variable]);
  if (mutation === undefined) throw new Error(`there is no mutation ${process.env[variable]}`);
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!url.startsWith('file:') || !isMutated(mutation, fileURLToPath(url))) return loaded;
      const text =
        loaded.source instanceof Uint8Array || typeof loaded.source === 'string'
          ? Buffer.from(loaded.source as Uint8Array).toString()
          : '';
      return { ...loaded, source: mutated(mutation, text) };
    },
  });
}
