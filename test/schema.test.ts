import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';

const root = path.join(import.meta.dirname, '..');

it('resources/schema and kube/api are what the generator makes', { timeout: 60_000 }, () => {
  const out = mkdtempSync(path.join(tmpdir(), 'flotilla-schema-'));
  try {
    execFileSync(process.execPath, [path.join(root, 'resources/schema/generate.ts'), out]);
    const made = readdirSync(out, { recursive: true, encoding: 'utf8' }).filter((f) =>
      /\.(ts|json)$/.test(f),
    );
    expect(made.length).toBeGreaterThan(10);
    const stale = made.filter(
      (file) =>
        readFileSync(path.join(out, file), 'utf8') !== readFileSync(path.join(root, file), 'utf8'),
    );
    expect(stale, 'run `npm run generate` and commit the result').toEqual([]);
  } finally {
    rmSync(out, { recursive: true });
  }
});
