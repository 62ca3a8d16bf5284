// This machine's container engine as the node shows it: why no container can run, installing and
// starting Docker at the agent's start or when the person asks for it in the user interface.
import type { Node } from '#kube/api/core.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import type { EngineState } from '../kubelet/engine-watch.ts';
import type { EngineProblem } from '../kubelet/node/node-status.ts';
import type { EngineInstaller } from './engine-installer.ts';
import { engineProblem, type EngineEnvironment } from './engine-socket.ts';
import { messageOf } from '../error-message.ts';

/** Set to `requested` by the user interface; removed here when all is done. */
export const installEngineAnnotation = 'flotilla.dev/install-engine';

export interface EngineKeeperDeps {
  readonly environment: EngineEnvironment;
  readonly installer: Pick<EngineInstaller, 'ensure' | 'obstacle'>;
  /** False: `--no-install`. */
  readonly mayInstall: boolean;
  readonly events: EventRecorder;
  readonly logger: Logger;
  /** The node's status has something new to say. */
  readonly onChange: () => void;
  readonly clearRequest: () => Promise<void>;
}

export class EngineKeeper {
  readonly #deps: EngineKeeperDeps;
  #state: EngineState = { kind: 'unknown' };
  #isInstalling = false;
  /** Why the last try to install failed. */
  #failure: string | undefined;

  constructor(deps: EngineKeeperDeps) {
    this.#deps = deps;
  }

  /** Why no container can run here; undefined: they can. */
  problem(): EngineProblem | undefined {
    if (this.#state.kind === 'running') return undefined;
    const why = this.#state.kind === 'down' ? this.#state.why : 'not asked yet';
    const problem = engineProblem(why, this.#deps.environment);
    if (this.#isInstalling)
      return {
        ...problem,
        message: 'Docker Engine is being installed and started on this machine',
      };
    if (this.#failure === undefined) return problem;
    return { ...problem, message: `${problem.message}. Installing it failed: ${this.#failure}` };
  }

  /** `docker://20.10.24`; '' while unknown. */
  runtimeVersion(): string {
    if (this.#state.kind !== 'running') return '';
    const { name, version } = this.#state.version;
    return `${name}://${version}`;
  }

  onState(state: EngineState): void {
    this.#state = state;
    if (state.kind === 'running') this.#failure = undefined;
    this.#deps.onChange();
  }

  /** At the agent's start: root on a system with apt gets an engine unasked. */
  async installAtStart(): Promise<void> {
    const { mayInstall, installer, logger } = this.#deps;
    if (!mayInstall || installer.obstacle() !== undefined) return;
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
    const { events, mayInstall, clearRequest, logger } = this.#deps;
    try {
      if (!mayInstall) throw new Error('this agent was started with --no-install');
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

  async #install(): Promise<void> {
    this.#isInstalling = true;
    this.#failure = undefined;
    this.#deps.onChange();
    try {
      await this.#deps.installer.ensure();
    } catch (error) {
      this.#failure = messageOf(error);
      throw error;
    } finally {
      this.#isInstalling = false;
      this.#deps.onChange();
    }
  }
}
