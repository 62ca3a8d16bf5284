// Pure: which credentials of a pod's image pull secrets fit an image.
// Source: kubernetes pkg/credentialprovider (keyring.go, config.go).
import type { Secret } from '#kube/api/core.ts';
import type { RegistryAuth } from '../../runtime/runtime.ts';

interface AuthEntry {
  readonly username?: string;
  readonly password?: string;
  readonly auth?: string;
}

/** The registry of an image name: `docker.io` when the name has none. */
export function registryOf(image: string): string {
  const slash = image.indexOf('/');
  const first = slash < 0 ? '' : image.slice(0, slash);
  return /[.:]/.test(first) || first === 'localhost' ? first : 'docker.io';
}

export function registryAuth(image: string, secrets: readonly Secret[]): RegistryAuth | undefined {
  const registry = registryOf(image);
  for (const secret of secrets)
    for (const [server, entry] of Object.entries(entriesOf(secret))) {
      if (hostOf(server) !== registry) continue;
      const decoded = Buffer.from(entry.auth ?? '', 'base64').toString();
      const colon = decoded.indexOf(':');
      return {
        username: entry.username ?? decoded.slice(0, Math.max(0, colon)),
        password: entry.password ?? decoded.slice(colon + 1),
        serverAddress: server,
      };
    }
  return undefined;
}

/** A secret that is not what it should be gives no credentials: the pull then says so. */
function entriesOf(secret: Secret): Record<string, AuthEntry> {
  const json = secret.data?.['.dockerconfigjson'];
  const legacy = secret.data?.['.dockercfg'];
  try {
    const parsed: unknown = JSON.parse(Buffer.from(json ?? legacy ?? 'e30=', 'base64').toString());
    const root = parsed as { auths?: Record<string, AuthEntry> };
    return json === undefined ? (parsed as Record<string, AuthEntry>) : (root.auths ?? {});
  } catch {
    return {};
  }
}

function hostOf(server: string): string {
  const host = server.replace(/^https?:\/\//, '').split('/')[0] ?? '';
  return host === 'index.docker.io' || host === 'registry-1.docker.io' ? 'docker.io' : host;
}
