// Builds what is stale into out/: controlplane and agent (a file for each process and thread, for
// Node), the renderer, Electron's main and preload. `npm start` and `npm test` call it;
// `node electron/build.ts` too.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { InlineConfig, Plugin } from 'vite';
import { lockedRuntimes } from './controlplane/fleet/package/locked-runtimes.ts';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const stamp = path.join(root, 'out/built');
const sources = ['electron', 'renderer', 'agent', 'resources', 'package.json', 'package-lock.json'];

/** What dockerode asks for and the agent never uses: see the file. */
const standIn = path.join(root, 'agent/runtime/unused-packages.ts');
const unusedByAgent = Object.fromEntries([
  ['debug', path.join(root, 'agent/runtime/unused-debug.ts')],
  ...[
    'ssh2',
    '@grpc/grpc-js',
    '@grpc/proto-loader',
    'protobufjs',
    '@balena/dockerignore',
    'tar-fs',
    'readable-stream',
    'zlib',
  ].map((name) => [name, standIn] as const),
]);

/** True when a source is newer than the last build, or there was none. */
export function isStale(): boolean {
  if (!existsSync(stamp)) return true;
  const builtMs = statSync(stamp).mtimeMs;
  return sources.some((source) => isNewer(path.join(root, source), builtMs));
}

function isNewer(file: string, thanMs: number): boolean {
  if (/\.(md|test\.ts)$/.test(file)) return false;
  const stats = statSync(file);
  // A folder's own time changes when a file in it is added, removed or renamed.
  if (stats.mtimeMs > thanMs) return true;
  if (!stats.isDirectory()) return false;
  return readdirSync(file).some((name) => isNewer(path.join(file, name), thanMs));
}

/** Builds everything. Throws with the bundler's message when a source is broken. */
export async function build(): Promise<void> {
  const startedMs = Date.now();
  const vite = await import('vite');
  const electronVite = await import('electron-vite');
  await Promise.all([
    vite.build({ configFile: path.join(root, 'renderer/vite.config.ts'), logLevel: 'warn' }),
    nodeBundles(vite, 'controlplane', {
      'main.js': 'electron/controlplane/main.ts',
      'yaml-worker.js': 'electron/controlplane/apiserver/representation/yaml-worker.ts',
      'state-worker.js': 'electron/controlplane/store/state-worker.ts',
    }),
    nodeBundles(vite, 'agent', { 'main.js': 'agent/main.ts' }),
    electronVite.build({
      configFile: path.join(root, 'electron/electron.vite.config.ts'),
      // At 'warn' it complains that the renderer is not its own to build.
      logLevel: 'error',
    }),
  ]);
  // Which Node other machines get beside the agent: the lock file is not there later.
  const locked = lockedRuntimes(readFileSync(path.join(root, 'package-lock.json'), 'utf8'));
  writeFileSync(path.join(root, 'out/agent/runtimes.json'), `${JSON.stringify(locked)}\n`);
  mkdirSync(path.dirname(stamp), { recursive: true });
  writeFileSync(stamp, `${new Date(startedMs).toISOString()}\n`);
}

/** In a process of its own: its 800 MB would stay with whoever goes on. Throws when it failed. */
export async function buildApart(): Promise<void> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url)], { stdio: 'inherit' });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error('the build failed');
}

/**
 * Self-contained files (name → entry): a process's, those of threads it starts, and beside them what
 * is imported only when it is needed. Only
 * better-sqlite3 (native) and Node's own modules stay outside.
 */
export async function nodeBundles(
  vite: typeof import('vite'),
  folder: 'controlplane' | 'agent' | 'bench',
  entries: Readonly<Record<string, string>>,
): Promise<void> {
  let isFirst = true;
  for (const [file, entry] of Object.entries(entries)) {
    const config = bundleConfig(folder, file, path.join(root, entry));
    await vite.build({ ...config, build: { ...config.build, emptyOutDir: isFirst } });
    isFirst = false;
  }
}

/** Of one of them. */
export function bundleConfig(
  folder: 'controlplane' | 'agent' | 'bench',
  file: string,
  entry: string,
): InlineConfig {
  return {
    configFile: false,
    root,
    logLevel: 'warn',
    plugins: [
      inMemory(),
      withoutNativeParts(),
      ...(folder === 'controlplane' ? [descriptionsBeside()] : []),
    ],
    resolve: { alias: folder === 'agent' ? unusedByAgent : {} },
    ssr: { noExternal: true, external: ['better-sqlite3'], target: 'node' },
    build: {
      ssr: entry,
      outDir: path.join(root, 'out', folder),
      ssrEmitAssets: true,
      target: 'node24',
      sourcemap: true,
      minify: false,
      rolldownOptions: {
        output: {
          entryFileNames: file,
          chunkFileNames: '[name].js',
          comments: { legal: true, annotation: false, jsdoc: false },
        },
      },
    },
  };
}

/** A process keeps the text of its program, and what the program loads, for as long as it runs. */
function inMemory(): Plugin {
  return {
    name: 'in-memory',
    // Last of all: whatever prints a chunk anew writes characters as they are.
    generateBundle: {
      order: 'post',
      handler(_options, bundle) {
        for (const chunk of Object.values(bundle))
          if (chunk.type === 'chunk') chunk.code = inAscii(withBuiltinsOnDemand(chunk.code));
      },
    },
  };
}

/** Other characters as escapes: one that is not in Latin-1 makes two bytes of each in the whole text. */
export function inAscii(code: string): string {
  return code.replaceAll(
    /[^\0-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * Node's own modules, taken as `require` takes them: an `import` of one reads every export it has,
 * which loads what hides behind them (of node:http a whole fetch): 14 MB of a process's memory.
 * One line stays one line, for the source map's sake.
 */
export function withBuiltinsOnDemand(code: string): string {
  return code.replaceAll(
    /^import (?:\* as )?([\w$]+)?(?:, )?(\{[^}]*\})? from "(node:[\w/]+)";$/gm,
    (_line, whole: string | undefined, some: string | undefined, name: string) => {
      const taken = `process.getBuiltinModule("${name}")`;
      const parts = some?.replaceAll(' as ', ': ');
      const names = [whole, parts].filter((part) => part !== undefined);
      return `const ${names.map((part) => `${part} = ${taken}`).join(', ')};`;
    },
  );
}

/**
 * ssh2 goes without them: asked for, they are as missing as they are where nobody compiled them. Nor is there a
 * folder of its own, where its program for PuTTY's agent would be (all else is in its text).
 */
function withoutNativeParts(): Plugin {
  const left = '\0left-out.cjs';
  return {
    name: 'without-native-parts',
    enforce: 'pre',
    resolveId: (id) => (/^cpu-features$|sshcrypto\.node$/.test(id) ? left : null),
    load: (id) => (id === left ? "module.exports = {}; throw new Error('left out');" : null),
    transform: (code, id) =>
      id.includes('/ssh2/lib/') && code.includes('__dirname')
        ? { code: code.replaceAll('__dirname', "'.'"), map: null }
        : null,
  };
}

/** What `kubectl explain` tells, as a file: the package it is read from is not there later. */
function descriptionsBeside(): Plugin {
  const fileName = 'descriptions.json';
  return {
    name: 'descriptions-beside',
    async load(id) {
      if (!id.endsWith('resources/schema/descriptions.ts')) return null;
      const { readDescriptions } = await import('../resources/schema/descriptions.ts');
      this.emitFile({ type: 'asset', fileName, source: JSON.stringify(readDescriptions()) });
      return [
        "import { readFileSync } from 'node:fs';",
        'export function readDescriptions() {',
        `  const file = new URL(${JSON.stringify(fileName)}, import.meta.url);`,
        "  return JSON.parse(readFileSync(file, 'utf8'));",
        '}',
      ].join('\n');
    },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await build();
