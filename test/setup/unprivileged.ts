// The launcher as a user who may do nothing special: no root, no group, no Docker. The user is made
// here, so the tests have to run as root. The checkout is shown to it under a path that it can
// reach, wherever the real one lies.
import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root } from './machine.ts';

const name = 'flotilla-test';

function id(flag: '-u' | '-g'): number {
  return Number(execFileSync('id', [flag, name], { encoding: 'utf8' }));
}

function ensureUser(): void {
  try {
    execFileSync('id', [name], { stdio: 'ignore' });
  } catch {
    const flags = ['--system', '--no-create-home', '--shell', '/usr/sbin/nologin'];
    execFileSync('/usr/sbin/useradd', [...flags, '--user-group', name]);
  }
}

export class UnprivilegedUser {
  readonly #folder: string;
  readonly #uid: number;
  readonly #gid: number;

  constructor() {
    ensureUser();
    this.#uid = id('-u');
    this.#gid = id('-g');
    this.#folder = mkdtempSync(path.join(tmpdir(), 'flotilla-user-'));
    mkdirSync(path.join(this.#folder, 'checkout'));
    mkdirSync(path.join(this.#folder, 'home'));
    this.give(this.#folder, 'checkout', 'home');
  }

  /** For its environment. */
  get home(): string {
    return path.join(this.#folder, 'home');
  }

  /** A folder or files in it become the user's. */
  give(folder: string, ...files: readonly string[]): void {
    for (const file of ['', ...files]) chownSync(path.join(folder, file), this.#uid, this.#gid);
  }

  /** The same command as this user; the checkout is mounted for this command only. */
  readonly run = (command: readonly string[]): readonly string[] => {
    const checkout = path.join(this.#folder, 'checkout');
    const moved = command.map((word) => word.replace(root.replace(/\/$/, ''), checkout));
    const script = 'mount --bind "$1" "$2" && shift 2 && cd "$0" && exec setpriv "$@"';
    const identity = [`--reuid=${this.#uid}`, `--regid=${this.#gid}`, '--clear-groups'];
    const shell = ['sh', '-c', script, checkout, root, checkout];
    return ['unshare', '--mount', ...shell, ...identity, '--', ...moved];
  };

  destroy(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
