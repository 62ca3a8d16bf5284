// Electron's own two bundles: the main process and the preload script. The control plane, the agent
// and the renderer are built by build.ts: they run without Electron too.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'electron-vite';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

export default defineConfig({
  main: {
    build: {
      outDir: path.join(root, 'out/desktop'),
      lib: { entry: path.join(root, 'electron/desktop/main.ts'), fileName: () => 'main.js' },
      externalizeDeps: false,
      emptyOutDir: false,
      sourcemap: true,
    },
  },
  preload: {
    build: {
      outDir: path.join(root, 'out/desktop'),
      // A sandboxed preload has to be CommonJS.
      lib: {
        entry: path.join(root, 'electron/desktop/preload.ts'),
        formats: ['cjs'],
        fileName: () => 'preload.cjs',
      },
      emptyOutDir: false,
    },
  },
});
