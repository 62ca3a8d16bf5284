// What each type and field is for, in Kubernetes' own words, for `kubectl explain`: read from the
// comments of @kubernetes/client-node (Apache License 2.0, see NOTICE), which is there only where
// this is developed. A build writes it beside the bundle (electron/build.ts); nothing of it is
// committed.
// Fields that refer to another type have no comment there: they are told by that type's own.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { schemaDocuments } from './documents.ts';

/** By type, such as `apps/v1.Deployment`: its own under '', those of its fields by name. */
export type Descriptions = Readonly<Record<string, Readonly<Record<string, string>>>>;

const here = path.dirname(fileURLToPath(import.meta.url));
const models = path.join(here, '../../node_modules/@kubernetes/client-node/dist/gen/models');

export function readDescriptions(): Descriptions {
  const found: Record<string, Record<string, string>> = {};
  for (const document of schemaDocuments) {
    const { package: name, types } = document as { package: string; types: object };
    for (const type of Object.keys(types)) {
      const file = declarationOf(name, type);
      if (file !== undefined) found[`${name}.${type}`] = comments(readFileSync(file, 'utf8'));
    }
  }
  return found;
}

/** `apps/v1`, `Deployment` → the file of `V1Deployment`, or of `AppsV1Deployment` if there are two. */
function declarationOf(name: string, type: string): string | undefined {
  const [group = '', version = ''] = name.split('/');
  const versioned = `${version.toUpperCase().replace(/(?<=\d)\w+/, (rest) => rest.toLowerCase())}${type}`;
  const prefix = group.slice(0, 1).toUpperCase() + group.slice(1);
  return [`${prefix}${versioned}`, versioned]
    .map((model) => path.join(models, `${model}.d.ts`))
    .find((file) => existsSync(file));
}

function comments(declaration: string): Record<string, string> {
  const found: Record<string, string> = {};
  const commented = /\/\*\*\s*\n\s*\* (.+)\n\s*\*\/\s*\n\s*(?:export declare class|'([^']+)'\??:)/g;
  for (const [, text = '', field = ''] of declaration.matchAll(commented))
    found[field] = text
      .replaceAll(/\\(['"])/g, '$1')
      .replaceAll('*\\/', '*/')
      .trim();
  return found;
}
