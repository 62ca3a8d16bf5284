// This machine's container engine as the node shows it: why no container can run, installing and
// starting Docker at the agent's start or when the person asks for it in the user interface.
import type { Node } from '#kube/api/core.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import type { EngineState } from '../kubelet/engine-watch.ts';
import type { EngineProblem } from '../kubelet/node/node-status.ts';
import type { EngineInstaller } from './engine-installer.ts';
import { messageOf } from '../error-message.ts';

/** Set to `requested` by the user interface; removed here when all is done. */
export const installEngineAnnotation = 'flotilla.dev/install-engine';

export interface EngineKeeperDeps {
  /** What is wrong here, given why the engine does not answer. */
  readonly diagnose: (why: string) => EngineProblem;
  readonly installer: Pick<EngineInstaller, 'ensure' | 'obstacle'>;
  /** False: `--no-install`. */
  readonly mayInstall: boolean;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The node's status has something new to say. */
  readonly onChange: () => void;
  readonly clearRequest: () => Promise<void>;
}

/** How long an engine that answers may take until its containers are followed. */
const followPatienceMs = 15_000;

export class EngineKeeper {
  readonly #deps: EngineKeeperDeps;
  #state: EngineState = { kind: 'unknown' };
  #onRunning: (() => void) | undefined;
  #isInstalling = false;
  /** Why the last try to install failed. */
  #failure: string | undefined;

  constructor(deps: EngineKeeperDeps) {
    this.#deps = deps;
  }

  /** Why no container can run here, and whether asking helps; undefined: they can. */
  problem(): EngineProblem | undefined {
    if (this.#state.kind === 'running') return undefined;
    if (this.#isInstalling)
      return {
        reason: 'ContainerEngineInstalling',
        message: 'Docker Engine is being installed and started on this machine',
      };
    const why = this.#state.kind === 'down' ? this.#state.why : 'not asked yet';
    const problem = this.#deps.diagnose(why);
    if (problem.reason === 'ContainerEngineForbidden') return problem;
    const obstacle = this.#obstacle();
    if (obstacle !== undefined && problem.reason === 'ContainerEngineMissing')
      return {
        reason: 'ContainerEngineNotInstallable',
        message: `There is no container engine on this machine: ${obstacle}`,
      };
    if (this.#failure === undefined) return problem;
    return {
      reason: 'ContainerEngineInstallFailed',
      message: `Installing and starting Docker Engine failed: ${this.#failure}`,
    };
  }

  /** `docker://20.10.24`; '' while unknown. */
  runtimeVersion(): string {
    if (this.#state.kind !== 'running') return '';
    const { name, version } = this.#state.version;
    return `${name}://${version}`;
  }

  onState(state: EngineState): void {
    this.#state = state;
    if (state.kind === 'running') {
      this.#failure = undefined;
      this.#onRunning?.();
    }
    this.#deps.onChange();
  }

  /** At the agent's start: root on a system with apt gets an engine unasked. */
  async installAtStart(): Promise<void> {
    const { logger } = this.#deps;
    if (this.#obstacle() !== undefined) return;
    try {
      await this.#install();
    } catch (error) {
      logger.error('Docker Engine not installed', { error: this.#failure ?? String(error) });
    }
  }

  /** The own Node object changed: somebody may have asked for an engine. */
  async onNode(node: Node): Promise<void> {
    const asked = node.metadata.annotations?.[installEngineAnnotation];
    if (asked !== 'requested' || this.#isInstalling) return;
    const { events, clearRequest, logger } = this.#deps;
    try {
      const obstacle = this.#obstacle();
      if (obstacle !== undefined) throw new Error(obstacle);
      events.event(node, 'Normal', 'InstallingEngine', 'Installing and starting Docker Engine');
      await this.#install();
      events.event(node, 'Normal', 'InstalledEngine', 'Docker Engine runs');
    } catch (error) {
      this.#failure = messageOf(error);
      events.event(node, 'Warning', 'EngineInstallFailed', this.#failure);
    }
    this.#deps.onChange();
    try {
      await clearRequest();
    } catch (error) {
      // The annotation stays and the next change of the node brings us here again.
      logger.warn('Request to install an engine not cleared', { error: messageOf(error) });
    }
  }

  /** Why it may not or can not be installed by us; undefined: it can. */
  #obstacle(): string | undefined {
    const { mayInstall, installer } = this.#deps;
    if (mayInstall) return installer.obstacle();
    return 'Flotilla was started with --no-install, so install and start Docker Engine yourself; Flotilla then uses it by itself';
  }

  async #install(): Promise<void> {
    this.#isInstalling = true;
    this.#failure = undefined;
    this.#deps.onChange();
    try {
      await this.#deps.installer.ensure();
      await this.#whenRunning();
    } catch (error) {
      this.#failure = messageOf(error);
      throw error;
    } finally {
      this.#isInstalling = false;
      this.#deps.onChange();
    }
  }

  /** It answers; until it is followed, too, the node would say once more that it is stopped. */
  async #whenRunning(): Promise<void> {
    if (this.#state.kind === 'running') return;
    const waiting = new AbortController();
    const running = new Promise<void>((resolve) => (this.#onRunning = resolve));
    await Promise.race([running, delay(this.#deps.clock, followPatienceMs, waiting.signal)]);
    waiting.abort();
  }
}
