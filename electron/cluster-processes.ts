// The cluster's two processes on this machine, control plane and agent, under one supervisor each:
// used by the headless launcher (Node children) and by the desktop app (utility processes).
// The agent starts once the control plane is ready, and stops before it.
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { ChildMessage } from '#platform/parent-channel.ts';
import { Supervisor, type ChildHandle } from '#platform/supervisor.ts';
import { controlPlaneArguments, ingressPortsText, type Options } from './options.ts';

/** What the control plane reports when it serves. */
export interface ControlPlaneReady {
  readonly apiUrl: string;
  /** By which one cluster is told from another. */
  readonly authority: string;
  /** With a fresh one-time token in the fragment. */
  readonly uiUrl: string;
  readonly kubeconfig: string;
  readonly apiPort: number;
  readonly uiPort: number;
  readonly nodeName: string;
  /** Range of ClusterIPs, which the agent's proxy answers for. */
  readonly serviceCidr: string;
}

export interface ClusterProcessesOptions {
  readonly options: Options;
  /** Folder with controlplane/main.js and agent/main.js. */
  readonly bundles: string;
  readonly spawn: (file: string, args: readonly string[]) => ChildHandle;
  readonly clock: Clock;
  readonly logger: Logger;
  /** At each start of the control plane, also after a crash. */
  readonly onReady: (ready: ControlPlaneReady) => void;
  /** The agent registered its node, or says why it can't run containers. */
  readonly onAgent: (message: ChildMessage) => void;
  /** A sentence for the person; everything goes on. */
  readonly onNotice?: (sentence: string) => void;
  /** A sentence for the person; nothing runs any more. */
  readonly onCannotRun: (sentence: string) => void;
}

export class ClusterProcesses {
  readonly #deps: ClusterProcessesOptions;
  readonly #controlPlane: Supervisor;
  #agent: Supervisor | undefined;
  #ready: ControlPlaneReady | undefined;
  #isStopping = false;
  #fatal = 'The control plane could not start; its log says why.';

  constructor(deps: ClusterProcessesOptions) {
    this.#deps = deps;
    this.#controlPlane = new Supervisor({
      name: 'controlplane',
      clock: deps.clock,
      logger: deps.logger,
      spawn: () => deps.spawn(this.#bundle('controlplane'), this.#controlPlaneArguments()),
      onMessage: (message) => this.#onControlPlane(message),
      onCannotRun: () => void this.#giveUp(),
    });
  }

  start(): void {
    this.#controlPlane.start();
  }

  /** Agent first: its last status still finds an API server. Containers keep running. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#agent?.stop();
    await this.#controlPlane.stop();
  }

  #bundle(name: string): string {
    return path.join(this.#deps.bundles, name, 'main.js');
  }

  /** After a crash the same ports again, so that kubeconfig and open pages stay true. */
  #controlPlaneArguments(): string[] {
    const { options } = this.#deps;
    if (this.#ready === undefined) return controlPlaneArguments(options);
    return controlPlaneArguments({
      ...options,
      port: this.#ready.apiPort,
      uiPort: this.#ready.uiPort,
    });
  }

  #onControlPlane(message: ChildMessage): void {
    if (message.type === 'fatal') this.#fatal = String(message['message']);
    if (message.type === 'notice') this.#deps.onNotice?.(String(message['message']));
    if (message.type !== 'ready') return;
    const ready = message as unknown as ControlPlaneReady;
    const isOther = this.#ready !== undefined && this.#ready.authority !== ready.authority;
    this.#ready = ready;
    this.#deps.onReady(ready);
    if (!this.#deps.options.agent) return;
    if (isOther) void this.#restartAgent(ready);
    else if (this.#agent === undefined) this.#startAgent(ready);
  }

  /** A backup was adopted: the agent is of another cluster from now on. */
  async #restartAgent(ready: ControlPlaneReady): Promise<void> {
    const { logger } = this.#deps;
    logger.info('The agent starts again: its control plane is of another cluster now');
    await this.#agent?.stop();
    if (!this.#isStopping) this.#startAgent(ready);
  }

  #startAgent({ nodeName, serviceCidr }: ControlPlaneReady): void {
    const { options, clock, logger, spawn, onAgent } = this.#deps;
    const data = path.join(options.dataDirectory, 'agent');
    const args = ['--data', data, '--node-name', nodeName];
    args.push('--kubeconfig', path.join(data, 'kubeconfig'), '--service-cidr', serviceCidr);
    args.push('--ingress-ports', ingressPortsText(options.ingressPorts));
    if (options.podMaxPids !== undefined) args.push('--pod-max-pids', String(options.podMaxPids));
    if (options.discovery !== 'off') args.push('--discovery', options.discovery.join(','));
    args.push('--bind', options.bindAddress);
    if (!options.install) args.push('--no-install');
    this.#agent = new Supervisor({
      name: 'agent',
      clock,
      logger,
      spawn: () => spawn(this.#bundle('agent'), args),
      onMessage: onAgent,
      onCannotRun: () => logger.error('The agent cannot run; its log says why'),
    });
    this.#agent.start();
  }

  async #giveUp(): Promise<void> {
    this.#isStopping = true;
    await this.#agent?.stop();
    this.#deps.onCannotRun(this.#fatal);
  }
}
