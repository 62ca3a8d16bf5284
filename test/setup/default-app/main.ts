// What Electron's own default app does with `electron <folder>`; used by the end-to-end tests only.
// machine.ts strips the types: Electron 33 can't.
import { app } from 'electron';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

interface Manifest {
  readonly name: string;
  readonly productName?: string;
  readonly version: string;
  readonly main: string;
}

const folder = path.resolve(process.argv.slice(1).find((arg) => !arg.startsWith('-')) ?? '.');
const manifest = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as Manifest;
app.setName(manifest.productName ?? manifest.name);
// Typed away in newer Electrons, there in 33.
(app as unknown as { setVersion(version: string): void }).setVersion(manifest.version);
(app as unknown as { setAppPath(folder: string): void }).setAppPath(folder);
await import(pathToFileURL(path.join(folder, manifest.main)).href);
