// The port of the agent's server, the same at each start: people open it in their firewalls. Another one only where some
// program has taken it meanwhile.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { writeFileAtomic } from '#platform/atomic-file.ts';

/** A port that is free now. Kept in `file`, as far as that can be written. */
export async function keptPort(file: string, host: string): Promise<number> {
  const kept = Number((await readFile(file, 'utf8').catch(() => '')).trim());
  const isPort = Number.isInteger(kept) && kept > 0 && kept < 65_536;
  if (isPort && (await listened(host, kept).catch(() => 0)) === kept) return kept;
  const port = await listened(host, 0);
  await writeFileAtomic(file, `${port}\n`).catch(() => undefined);
  return port;
}

/** By a server that is there for a moment. */
async function listened(host: string, wanted: number): Promise<number> {
  const server = createServer().listen(wanted, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
