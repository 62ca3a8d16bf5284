// Being logged in to a machine, also past its restart.
import { delay, type Clock } from '#kube/base/clock.ts';
import type { MachineFacts } from './facts.ts';
import {
  RemoteError,
  type Credentials,
  type OpenRemote,
  type Remote,
  type Target,
} from './remote.ts';
import { outputOf, rootShell, type RootRun } from './root-shell.ts';
import { rebootText } from './system-programs.ts';

const rebootMs = 6 * 60_000;
const retryMs = 3000;

export interface SessionDeps {
  readonly open: OpenRemote;
  /** As it is known now: after a restart it may have another address. */
  readonly target: () => Promise<Target>;
  readonly credentials: Credentials;
  readonly sudoPassword: string | undefined;
  readonly hostKey: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export class Session {
  readonly #deps: SessionDeps;
  readonly #facts: MachineFacts;
  #remote: Remote;

  constructor(remote: Remote, facts: MachineFacts, deps: SessionDeps) {
    this.#remote = remote;
    this.#facts = facts;
    this.#deps = deps;
    deps.signal.addEventListener('abort', () => this.close(), { once: true });
  }

  readonly root: RootRun = (...asked) =>
    rootShell(this.#remote, this.#facts.rights, this.#deps.sudoPassword)(...asked);

  async reboot(): Promise<void> {
    const { clock, signal } = this.#deps;
    await outputOf(this.root(rebootText));
    this.#remote.close();
    const endMs = clock.monotonicMs() + rebootMs;
    while (!signal.aborted && clock.monotonicMs() < endMs) {
      await delay(clock, retryMs, signal);
      const remote = await this.#ifRestarted();
      if (remote === undefined) continue;
      this.#remote = remote;
      return;
    }
    throw new RemoteError(
      `it did not come back within ${rebootMs / 60_000} minutes: look at its screen, or switch it off and on`,
    );
  }

  /** Logged in again; undefined: not yet. */
  async #ifRestarted(): Promise<Remote | undefined> {
    const { open, target, credentials, hostKey, signal } = this.#deps;
    const login = await open(await target(), credentials, { hostKey, signal });
    if (login.type === 'other-host-key')
      throw new RemoteError(
        `another machine answers: its host key is ${login.hostKey.fingerprint}`,
      );
    // While it goes down, and before it is up, it lets nobody in.
    if (login.type !== 'in') return undefined;
    const { remote } = login;
    try {
      const id = await outputOf(remote.run('cat', ['/proc/sys/kernel/random/boot_id']));
      if (id.trim() !== this.#facts.bootId) return remote;
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error;
    }
    remote.close();
    return undefined;
  }

  close(): void {
    this.#remote.close();
  }
}
