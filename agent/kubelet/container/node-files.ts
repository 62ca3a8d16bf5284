// Files of this machine that containers are made with: name servers, seccomp profiles.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { DnsConfig } from '../../runtime/runtime.ts';
import { ContainerConfigError } from './environment.ts';
import { parseResolvConf } from './sandbox-config.ts';

/** systemd's resolver listens on the machine's own loopback, where no container reaches it. */
const stubServer = '127.0.0.53';

export async function readNodeDns(root = '/'): Promise<DnsConfig> {
  const read = async (file: string) =>
    parseResolvConf(await readFile(path.join(root, file), 'utf8').catch(() => ''));
  const dns = await read('etc/resolv.conf');
  return dns.servers.includes(stubServer) ? read('run/systemd/resolve/resolv.conf') : dns;
}

/**
 * A profile that lies in the node's directory for them. Docker takes its content.
 * Throws ContainerConfigError.
 */
export async function readSeccompProfile(directory: string, name: string): Promise<string> {
  const file = path.resolve(directory, name);
  if (!file.startsWith(path.resolve(directory) + path.sep))
    throw new ContainerConfigError(
      `seccomp profile ${JSON.stringify(name)} leads out of its folder`,
    );
  try {
    return JSON.stringify(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ContainerConfigError(`cannot load seccomp profile ${JSON.stringify(file)}: ${why}`, {
      cause: error,
    });
  }
}
