import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import type { SchemaDocument } from '#kube/machinery/schema.ts';
import { readDescriptions } from '../resources/schema/descriptions.ts';
import { schemaDocuments } from '../resources/schema/documents.ts';

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

it('every generated type is described, and most of its fields', () => {
  const descriptions = readDescriptions();
  const types = schemaDocuments.flatMap((document) => {
    const { package: name, types: all } = document as SchemaDocument;
    return Object.entries(all).map(([type, schema]) => ({ name: `${name}.${type}`, schema }));
  });
  expect(types.filter(({ name }) => (descriptions[name]?.[''] ?? '') === '')).toEqual([]);
  const fields = types.flatMap(({ name, schema }) =>
    Object.keys(schema.properties ?? {}).map((field) => descriptions[name]?.[field]),
  );
  const described = fields.filter((text) => text !== undefined);
  expect(described.length / fields.length).toBeGreaterThan(0.93);
  // Fields that refer to another type have words of their own.
  expect(descriptions['apps/v1.Deployment']).toMatchObject({
    '': expect.stringMatching(/^Deployment enables/),
    spec: 'Specification of the desired behavior of the Deployment.',
    status: 'Most recently observed status of the Deployment.',
  });
  expect(descriptions['core/v1.Container']?.['command']).toContain("container's environment");
});
