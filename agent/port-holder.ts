// Which process listens on a port of this machine: for the sentence that says why we can't.
// Source: proc_pid_net(5); the state of a TCP socket that listens is 0A, of a UDP socket without a peer 07.
import { readdir, readFile, readlink } from 'node:fs/promises';
import path from 'node:path';

export interface PortSearch {
  readonly protocol?: 'tcp' | 'udp';
  /** This process does not count. */
  readonly exceptPid?: number;
  /** Who listens on 127.0.0.1 only does not count either. */
  readonly exceptLoopback?: boolean;
  readonly proc?: string;
}

/** `nginx (process 123)`; undefined when that can't be found out: others' need root. */
export async function portHolder(
  port: number,
  { protocol = 'tcp', exceptPid, exceptLoopback = false, proc = '/proc' }: PortSearch = {},
): Promise<string | undefined> {
  const names = [`net/${protocol}`, `net/${protocol}6`];
  const tables = await Promise.all(
    names.map((name) => readFile(path.join(proc, name), 'utf8').catch(() => '')),
  );
  const state = protocol === 'tcp' ? '0A' : '07';
  const search = { port, state, exceptLoopback };
  const sockets = new Set(tables.flatMap((table) => listeningInodes(table, search)));
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

/** Of 127.0.0.0/8, ::1, and the former written as the latter; each four bytes the other way round. */
const loopback = /^(?:.{6}7F|0{24}01000000|0{16}FFFF0000.{6}7F):/;

/** Of `/proc/net/tcp` and its like: addresses and ports are hexadecimal. */
export function listeningInodes(
  table: string,
  given: { readonly port: number; readonly state?: string; readonly exceptLoopback?: boolean },
): string[] {
  const { port, state: listening = '0A', exceptLoopback = false } = given;
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return table.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
    const isWanted = state === listening && local.endsWith(wanted);
    return isWanted && !(exceptLoopback && loopback.test(local)) ? [inode] : [];
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
