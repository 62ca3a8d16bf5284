// Addresses of the pool on this machine: their keeper with what it needs of it.
import path from 'node:path';
import type { Node } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { InformerFactory } from '#kube/client/informer.ts';
import { nodes, services } from '#kube/client/resources.ts';
import { readFileIfExists, writeFileAtomic } from '#platform/atomic-file.ts';
import { proxySystem } from '../proxy/system.ts';
import { LanAddresses } from './lan-addresses.ts';
import { lanLinks, type LanLinks } from './lan-link.ts';

export interface StartLanAddressesDeps {
  readonly informers: InformerFactory;
  readonly nodeName: string;
  readonly userId: number;
  readonly dataDirectory: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onChange: () => void;
  readonly signal: AbortSignal;
}

/** Undefined where none can be taken: that needs root, Linux and iproute2. */
export async function startLanAddresses(
  deps: StartLanAddressesDeps,
): Promise<LanAddresses | undefined> {
  const { informers, userId, dataDirectory, clock } = deps;
  const system = proxySystem(userId);
  if (!system.isRoot || (await system.run('ip', ['-Version'])).exitCode !== 0) return undefined;
  return new LanAddresses({
    ...deps,
    services: informers.informer(services),
    nodes: informers.informer<Node>(nodes),
    links: lanLinks(system, clock),
    watchLinks: (onLine, signal) =>
      void system.follow('ip', ['-oneline', 'monitor', 'link'], onLine, signal),
    memory: lanMemory(dataDirectory),
  });
}

function lanMemory(dataDirectory: string) {
  const file = path.join(dataDirectory, 'lan-addresses.json');
  return {
    async read(): Promise<Readonly<Record<string, string>>> {
      const text = (await readFileIfExists(file)) ?? '{}';
      return JSON.parse(text) as Readonly<Record<string, string>>;
    },
    write: (devices: Readonly<Record<string, string>>) =>
      writeFileAtomic(file, `${JSON.stringify(devices)}\n`),
  };
}

/** What an agent left on this machine; which addresses there were. */
export async function removeLanAddresses(
  dataDirectory: string,
  links: Pick<LanLinks, 'release'>,
): Promise<readonly string[]> {
  const memory = lanMemory(dataDirectory);
  const devices = Object.entries(await memory.read());
  for (const [address, device] of devices) await links.release(address, device);
  if (devices.length > 0) await memory.write({});
  return devices.map(([address]) => address);
}
