// Which process listens on a port of this machine: for the sentence that says why we can't.
// Source: proc_pid_net(5); the state of a TCP socket that listens is 0A, of a UDP socket without a peer 07.
import { readdir, readFile, readlink } from 'node:fs/promises';
import path from 'node:path';

export interface PortSearch {
  readonly protocol?: 'tcp' | 'udp';
  /** This process does not count. */
  readonly exceptPid?: number;
  readonly proc?: string;
}

/** `nginx (process 123)`; undefined when that can't be found out: others' need root. */
export async function portHolder(
  port: number,
  { protocol = 'tcp', exceptPid, proc = '/proc' }: PortSearch = {},
): Promise<string | undefined> {
  const names = [`net/${protocol}`, `net/${protocol}6`];
  const tables = await Promise.all(
    names.map((name) => readFile(path.join(proc, name), 'utf8').catch(() => '')),
  );
  const state = protocol === 'tcp' ? '0A' : '07';
  const sockets = new Set(tables.flatMap((table) => listeningInodes(table, port, state)));
  if (sockets.size === 0) return undefined;
  for (const pid of await readdir(proc)) {
    if (
      !/^\d+$/.test(pid) ||
      Number(pid) === exceptPid ||
      !(await holdsAny(path.join(proc, pid, 'fd'), sockets))
    )
      continue;
    const name = await readFile(path.join(proc, pid, 'comm'), 'utf8').catch(() => '');
    return `${name.trim() === '' ? 'a program' : name.trim()} (process ${pid})`;
  }
  return undefined;
}

/** Of `/proc/net/tcp` and its like: addresses and ports are hexadecimal. */
export function listeningInodes(table: string, port: number, listening = '0A'): string[] {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return table.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
    return state === listening && local.endsWith(wanted) ? [inode] : [];
  });
}

async function holdsAny(folder: string, sockets: ReadonlySet<string>): Promise<boolean> {
  // Processes come and go, and some are not ours to look at.
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    const target = await readlink(path.join(folder, name)).catch(() => '');
    if (sockets.has(/^socket:\[(\d+)\]$/.exec(target)?.[1] ?? '')) return true;
  }
  return false;
}
