import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { bundleConfig, inAscii, withBuiltinsOnDemand } from './build.ts';

const taken = (name: string): string => `process.getBuiltinModule("${name}")`;

describe('a bundle takes Node’s own modules without reading all of their exports', () => {
  it.each([
    ['import { a, b as c$1 } from "node:fs";', `const { a, b: c$1 } = ${taken('node:fs')};`],
    ['import path from "node:path";', `const path = ${taken('node:path')};`],
    ['import * as os from "node:os";', `const os = ${taken('node:os')};`],
    [
      'import path, { join } from "node:path";',
      `const path = ${taken('node:path')}, { join } = ${taken('node:path')};`,
    ],
    ['import { a } from "node:fs/promises";', `const { a } = ${taken('node:fs/promises')};`],
    ['import Sqlite from "better-sqlite3";', 'import Sqlite from "better-sqlite3";'],
    ['import { x } from "./chunk.js";', 'import { x } from "./chunk.js";'],
    ['\timport { a } from "node:fs";', '\timport { a } from "node:fs";'],
  ])('%s', (line, want) => {
    expect(withBuiltinsOnDemand(`${line}\nrest`)).toBe(`${want}\nrest`);
  });
});

it('writes a bundle in ASCII, which means the same', () => {
  const value = { text: 'I²C … 🍓', pattern: /^é…$/.test('é…') };
  const code = "({ text: 'I²C … 🍓', pattern: /^é…$/.test('\\u00e9…') })";
  const ascii = inAscii(code);
  expect(ascii).toMatch(/^[\0-\x7f]+$/);
  expect(runInNewContext(ascii)).toEqual(value);
});

it('has it so in the file, whatever the bundler prints anew', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-bundle-'));
  const entry = path.join(folder, 'entry.ts');
  writeFileSync(
    entry,
    "import { hostname } from 'node:os';\nconsole.log(hostname(), 'I²C … 🍓');\n",
  );
  try {
    const vite = await import('vite');
    const config = bundleConfig('agent', 'main.js', entry);
    await vite.build({
      ...config,
      build: { ...config.build, outDir: path.join(folder, 'out'), emptyOutDir: false },
    });
    const text = readFileSync(path.join(folder, 'out/main.js'), 'utf8');
    expect(text).toMatch(/^[\0-\x7f]+$/);
    expect(text).toContain('process.getBuiltinModule("node:os")');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
