// What each type and field is for, in Kubernetes' own words, for `kubectl explain`: read from the
// comments of @kubernetes/client-node and kubernetes-types (Apache License 2.0, see NOTICE), which are there
// only where this is developed. A build writes it beside the bundle (electron/build.ts); nothing of it is
// committed.
// The first has the newest fields, but no words for those that refer to another type: the second has them.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { schemaDocuments } from './documents.ts';

/** By type, such as `apps/v1.Deployment`: its own under '', those of its fields by name. */
export type Descriptions = Readonly<Record<string, Readonly<Record<string, string>>>>;

const here = path.dirname(fileURLToPath(import.meta.url));
const modules = path.join(here, '../../node_modules');
const models = path.join(modules, '@kubernetes/client-node/dist/gen/models');

export function readDescriptions(): Descriptions {
  const found: Record<string, Record<string, string>> = {};
  for (const document of schemaDocuments) {
    const { package: name, types } = document as { package: string; types: object };
    const interfaces = interfacesOf(name);
    for (const type of Object.keys(types)) {
      const file = declarationOf(name, type);
      const newest = file === undefined ? {} : comments(readFileSync(file, 'utf8'));
      const all = { ...comments(interfaces.get(type) ?? ''), ...newest };
      if (Object.keys(all).length > 0) found[`${name}.${type}`] = all;
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

/** The declarations of a group's version, by type, each with its comment. */
function interfacesOf(name: string): Map<string, string> {
  const file = path.join(modules, `kubernetes-types/${name}.d.ts`);
  if (!existsSync(file)) return new Map();
  const declared = /^\/\*\* .+\*\/\nexport (?:declare )?interface (\w+) \{\n(?: .*\n)*\}/gm;
  const found = readFileSync(file, 'utf8').matchAll(declared);
  return new Map(Array.from(found, ([text, type = '']) => [type, text]));
}

function comments(declaration: string): Record<string, string> {
  const found: Record<string, string> = {};
  const commented =
    /\/\*\*(?:\s*\n\s*\*)? (.+?)\s*\*\/\s*\n\s*(?:export (?:declare )?(?:class|interface)|(?:'([^']+)'|(?:readonly )?([\w$]+))\??:)/g;
  for (const [, text = '', quoted = '', plain = ''] of declaration.matchAll(commented))
    found[quoted === '' ? plain : quoted] = text
      .replaceAll(/\\(['"])/g, '$1')
      .replaceAll('*\\/', '*/')
      .trim();
  return found;
}
