// The machine's own resolvers. Its files are looked at when somebody asks, at most every two seconds, instead
// of being watched: they are links to files of half a dozen programs, and an idle machine looks at
// nothing. Never ourselves: a question would run in circles.
import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { DnsConfig } from '../../runtime/runtime.ts';
import { messageOf } from '../../error-message.ts';
import type { Server } from './exchange.ts';

const lookEveryMs = 2_000;
/** systemd's resolver listens on the machine's own loopback, where no container reaches it. */
const stubServers = ['127.0.0.53', '127.0.0.54'];
const files = ['etc/resolv.conf', 'run/systemd/resolve/resolv.conf'];
const nameServersMax = 3;

/** Of a resolv.conf: the last `search` or `domain` counts. */
export function parseResolvConf(text: string): DnsConfig {
  const servers: string[] = [];
  const options: string[] = [];
  let searches: readonly string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...words] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver' && words[0] !== undefined) servers.push(words[0]);
    else if (keyword === 'search' || keyword === 'domain') searches = words;
    else if (keyword === 'options') options.push(...words);
  }
  return { servers, searches, options };
}

/** What the machine resolves by; behind systemd's stub the servers that it asks itself. */
export async function readNodeDns(root = '/'): Promise<DnsConfig> {
  const [plain = '', real = ''] = files;
  const read = async (file: string) =>
    parseResolvConf(await readFile(path.join(root, file), 'utf8').catch(() => ''));
  const dns = await read(plain);
  return dns.servers.some((server) => stubServers.includes(server)) ? read(real) : dns;
}

export interface MachineServersDeps {
  readonly root?: string;
  /** Addresses by which this server itself is reached. */
  readonly own: () => readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
}

export class MachineServers {
  readonly #deps: MachineServersDeps;
  #servers: readonly Server[] = [];
  #stamp = '';
  #lookedAtMs = -Infinity;

  constructor(deps: MachineServersDeps) {
    this.#deps = deps;
  }

  /** Has them read once. */
  async start(): Promise<void> {
    this.#lookedAtMs = this.#deps.clock.monotonicMs();
    this.#stamp = this.#stampOf();
    await this.#read();
  }

  /** The list of now; after a change of the files for a moment the one before. */
  list(): readonly Server[] {
    const { clock, own } = this.#deps;
    if (clock.monotonicMs() - this.#lookedAtMs >= lookEveryMs) {
      this.#lookedAtMs = clock.monotonicMs();
      const stamp = this.#stampOf();
      if (stamp !== this.#stamp) void this.#read();
      this.#stamp = stamp;
    }
    const ours = own();
    return this.#servers.filter(({ address }) => !ours.includes(address));
  }

  async #read(): Promise<void> {
    try {
      const { servers } = await readNodeDns(this.#deps.root);
      this.#servers = servers
        .filter((address) => isIP(address.split('%')[0] ?? '') !== 0)
        .slice(0, nameServersMax)
        .map((address) => ({ address, port: 53 }));
      this.#deps.logger.info('Name servers of this machine', { servers });
    } catch (error) {
      this.#deps.logger.warn('Name servers not read', { error: messageOf(error) });
    }
  }

  #stampOf(): string {
    const { root = '/' } = this.#deps;
    return files
      .map((file) => {
        const stat = statSync(path.join(root, file), { throwIfNoEntry: false });
        return stat === undefined ? '' : `${stat.ino} ${stat.mtimeMs} ${stat.size}`;
      })
      .join('\n');
  }
}
