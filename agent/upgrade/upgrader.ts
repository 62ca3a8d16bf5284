// Upgrades this agent when the control plane names another on the Node: fetches what is missing from the API server, as
// this node, has it placed beside and tried out, and ends, so that the supervisor starts it. Containers don't notice. What
// became of it is told on the Node: by the new agent that it runs, or by the old one why it does not.
import type { Node } from '#kube/api/core.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Transport } from '#kube/client/transport.ts';
import {
  digestOf,
  parsePackage,
  retryAnnotation,
  targetAnnotation,
  upgradeAnnotation,
  upgradeText,
  versionAnnotation,
  type PackageText,
} from '#kube/machinery/agent-versions.ts';
import { packageSourceAnnotation } from '#kube/machinery/control-planes.ts';
import { messageOf } from '../error-message.ts';
import type { Installation } from './installation.ts';

export interface UpgraderDeps {
  readonly installation: Installation;
  /** To the server that has it; undefined: nobody named one. */
  readonly transport: (source: string | undefined) => Pick<Transport, 'request' | 'stream'>;
  /** As packages name it: x64, arm64. */
  readonly architecture: string;
  /** What is to be told on the Node changed. */
  readonly onChange: () => void;
  /** The person's request was heard. */
  readonly clearRetry: () => Promise<void>;
  /** Ends this process, so that the supervisor starts what is current. */
  readonly restart: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const retryMs = { first: 5000, max: 300_000 };

export class Upgrader {
  readonly #deps: UpgraderDeps;
  #target = '';
  #source: string | undefined;
  #isBusy = false;
  /** And nobody found it healthy yet; a trial that is begun by this one is the next one's. */
  #isOnTrial: boolean;
  #report: string | null = null;
  #failedDigest = '';

  constructor(deps: UpgraderDeps) {
    this.#deps = deps;
    this.#isOnTrial = deps.installation.startedOnTrial;
  }

  /** Before the first status: what was rolled back has to be known before another try. */
  async start(): Promise<void> {
    const failure = await this.#deps.installation.failure();
    if (failure === undefined) return;
    const { digest, why } = failure;
    this.#failedDigest = digest;
    this.#report = upgradeText({ digest, state: 'Failed', why });
    this.#deps.logger.error('A new agent was rolled back', { agent: digest, why });
  }

  annotations(): Record<string, string | null> {
    return {
      [versionAnnotation]: this.#deps.installation.version,
      [upgradeAnnotation]: this.#report,
    };
  }

  /** The status was written: an agent on trial that is ready is a good one. */
  async onReady(isReady: boolean): Promise<void> {
    const { installation, logger } = this.#deps;
    if (!isReady || !this.#isOnTrial) return;
    this.#isOnTrial = false;
    const { version } = installation;
    try {
      await installation.confirm();
      logger.info('This agent is found healthy', { version });
    } catch (error) {
      // With the next status again.
      this.#isOnTrial = true;
      logger.error('This agent is healthy, and its trial goes on', { version, error });
    }
  }

  onNode({ metadata }: Node): void {
    this.#target = metadata.annotations?.[targetAnnotation] ?? '';
    this.#source = metadata.annotations?.[packageSourceAnnotation];
    if (metadata.annotations?.[retryAnnotation] !== undefined) void this.#forgetFailure();
    if (!this.#isBusy && this.#isWanted()) void this.#upgrade();
  }

  /** A person wants it tried once more. */
  async #forgetFailure(): Promise<void> {
    const { installation, clearRetry, logger } = this.#deps;
    try {
      await installation.forgetFailure();
      this.#failedDigest = '';
      this.#tell(null);
      await clearRetry();
    } catch (error) {
      // With the next change of the Node again.
      logger.warn('What failed is not forgotten yet', { error: messageOf(error) });
    }
  }

  #isWanted(): boolean {
    const digest = digestOf(this.#target);
    const { installation, signal } = this.#deps;
    const isNew = digest !== installation.digest && digest !== this.#failedDigest;
    return digest !== '' && isNew && !signal.aborted;
  }

  /** Until it is done, or nobody wants it any more. */
  async #upgrade(): Promise<void> {
    const { clock, logger, signal, restart } = this.#deps;
    this.#isBusy = true;
    for (let waitMs = retryMs.first; this.#isWanted(); waitMs = Math.min(waitMs * 2, retryMs.max)) {
      const target = this.#target;
      try {
        await this.#place(target);
        logger.info('Another agent takes over', { version: target });
        return restart();
      } catch (error) {
        const why = messageOf(error);
        logger.warn('Another agent is not there yet', { version: target, error: why });
        this.#tell(upgradeText({ digest: digestOf(target), state: 'Waits', why }));
      }
      await delay(clock, waitMs, signal);
    }
    this.#isBusy = false;
    this.#tell(null);
  }

  #tell(report: string | null): void {
    if (report === this.#report) return;
    this.#report = report;
    this.#deps.onChange();
  }

  async #place(target: string): Promise<void> {
    const { installation } = this.#deps;
    const { version, runtime, agent } = await this.#offered();
    if (version !== target)
      throw new Error(`the control plane hands out ${version}, and wants ${target}`);
    const [short, shortRuntime] = [agent.sha256.slice(0, 12), runtime.sha256.slice(0, 12)];
    if ((await installation.run('check-runtime', [shortRuntime])) !== 'done')
      await installation.run('place-runtime', [runtime.sha256], this.#file(runtime.sha256));
    if ((await installation.run('check-agent', [short, shortRuntime])) !== 'done')
      await installation.run('place-agent', [agent.sha256, shortRuntime], this.#file(agent.sha256));
    const wasOnTrial = this.#isOnTrial;
    this.#isOnTrial = false;
    try {
      await installation.run('try-out', [short]);
    } catch (error) {
      this.#isOnTrial = wasOnTrial;
      throw error;
    }
  }

  async #offered(): Promise<PackageText> {
    const { transport, architecture, signal } = this.#deps;
    const { status, body } = await transport(this.#source).request({
      method: 'GET',
      path: '/flotilla/machines/package',
      query: { architecture },
      headers: {},
      signal,
    });
    const text = new TextDecoder().decode(body);
    const found = status === 200 ? parsePackage(text) : undefined;
    if (found === undefined)
      throw new Error(`the control plane has no package (${status}): ${text.slice(0, 500)}`);
    return found;
  }

  async *#file(sha256: string): AsyncGenerator<Uint8Array> {
    const { transport, signal } = this.#deps;
    const file = `/flotilla/machines/files/${sha256}`;
    const answer = await transport(this.#source).stream({
      method: 'GET',
      path: file,
      headers: {},
      signal,
    });
    if (answer.status !== 200) throw new Error(`${file} can't be had (${answer.status})`);
    yield* answer.chunks;
  }
}
