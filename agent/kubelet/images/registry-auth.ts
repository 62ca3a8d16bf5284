// Pure: which credentials of a pod's image pull secrets fit an image. An entry names a registry, by
// its host (`*` stands for a part of it) and maybe the beginning of a path; the more exact one goes
// first, and all that fit are tried.
// Source: kubernetes pkg/credentialprovider (keyring.go, config.go), secrets/secrets.go.
import type { Secret } from '#kube/api/core.ts';
import type { RegistryAuth } from '../../runtime/runtime.ts';
import { repositoryOf, type ImageName } from './image-name.ts';

interface AuthEntry {
  readonly username?: string;
  readonly password?: string;
  readonly auth?: string;
}

interface Place {
  readonly host: string;
  readonly port: string;
  /** With its slash, or ''. */
  readonly path: string;
}

/** Most exact first. */
export function registryAuths(image: ImageName, secrets: readonly Secret[]): RegistryAuth[] {
  const wanted = placeOf(repositoryOf(image));
  const found = secrets
    .flatMap((secret) => Object.entries(entriesOf(secret)))
    .map(([server, entry]) => ({ server, entry, place: placeOf(server) }))
    .filter(({ place }) => fits(place, wanted));
  return found
    .toSorted((a, b) => order(key(b.place), key(a.place)))
    .map(({ server, entry }) => authOf(server, entry))
    .filter((auth, index, all) => all.findIndex((other) => isSame(auth, other)) === index);
}

function authOf(
  server: string,
  { username = '', password = '', auth = '' }: AuthEntry,
): RegistryAuth {
  if (auth === '') return { username, password, serverAddress: server };
  const decoded = Buffer.from(auth, 'base64').toString();
  const colon = decoded.indexOf(':');
  return {
    username: decoded.slice(0, Math.max(0, colon)),
    password: decoded.slice(colon + 1),
    serverAddress: server,
  };
}

function isSame(a: RegistryAuth, b: RegistryAuth): boolean {
  return a.username === b.username && a.password === b.password;
}

/** A secret that is not what it should be gives no credentials: the pull then says so. */
function entriesOf({ type, data = {} }: Secret): Record<string, AuthEntry> {
  try {
    if (type === 'kubernetes.io/dockerconfigjson')
      return objectOf((parse(data['.dockerconfigjson']) as { auths?: unknown }).auths);
    if (type === 'kubernetes.io/dockercfg') return objectOf(parse(data['.dockercfg']));
  } catch {
    // Not JSON: nothing in it.
  }
  return {};
}

function parse(base64 = 'e30='): unknown {
  return JSON.parse(Buffer.from(base64, 'base64').toString());
}

function objectOf(value: unknown): Record<string, AuthEntry> {
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  return Object.fromEntries(entries.filter(([, entry]) => typeof entry === 'object' && entry));
}

/** `https://index.docker.io/v1/`, `registry.lan:5000/team`, `*.example.com`. */
function placeOf(server: string): Place {
  const [authority = '', ...segments] = server.replace(/^https?:\/\//, '').split('/');
  const [, host = '', port = ''] = /^(.*?)(?::(\d+))?$/.exec(authority) ?? [];
  const path = segments.join('/').replace(/^v[12](\/|$)/, '');
  const isHub = host === 'index.docker.io' || host === 'registry-1.docker.io';
  return { host: isHub ? 'docker.io' : host, port, path: path === '' ? '' : `/${path}` };
}

function key({ host, port, path }: Place): string {
  return `${host}:${port}${path}`;
}

function order(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function fits(place: Place, wanted: Place): boolean {
  if (place.port !== wanted.port || !wanted.path.startsWith(place.path)) return false;
  const patterns = place.host.split('.');
  const labels = wanted.host.split('.');
  if (patterns.length !== labels.length) return false;
  return patterns.every((pattern, index) => matchesLabel(pattern, labels[index] ?? ''));
}

/** `*` for any letters, `?` for one. Looks at each letter a few times at most, whatever the pattern. */
function matchesLabel(pattern: string, text: string): boolean {
  let [at, star, tried] = [0, -1, 0];
  for (let index = 0; index < text.length;) {
    const wanted = pattern[at];
    if (wanted === '*') {
      [star, tried] = [at++, index];
    } else if (wanted === '?' || wanted === text[index]) {
      at++;
      index++;
    } else if (star >= 0) {
      at = star + 1;
      index = ++tried;
    } else return false;
  }
  return /^\**$/.test(pattern.slice(at));
}
