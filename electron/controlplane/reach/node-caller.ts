// Tells nodes' agents where this API server is: node-calls.ts decides whom and when, this asks. An agent takes the address
// that the call comes from, and has whoever is there prove it; so nothing here has to be believed.
import type { Node } from '#kube/api/core.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Informer } from '#kube/client/informer.ts';
import { apiServerHintPath } from '#kube/machinery/api-servers.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import type { KubeletClient } from '../apiserver/handlers/kubelet-client.ts';
import { step, wakeAtMs, type CallsEvent, type NodeCalls } from './node-calls.ts';

export interface NodeCallerDeps {
  readonly nodes: Pick<Informer<Node>, 'addHandler' | 'whenSynced'>;
  readonly kubelet: Pick<KubeletClient, 'stream'>;
  /** Its agent comes by loopback. */
  readonly localNodeName: string;
  readonly port: number;
  /** Where it listens; undefined: at whatever address a call comes from. */
  readonly address: string | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** At each of a node's addresses; and all in all, whatever an agent sends. */
const timeoutMs = { address: 2_000, all: 10_000 };
const answerMaxBytes = 4_096;

export class NodeCaller {
  readonly #deps: NodeCallerDeps;
  readonly #query: URLSearchParams;
  #calls: NodeCalls = new Map();
  #timer: Timer | undefined;

  constructor(deps: NodeCallerDeps) {
    this.#deps = deps;
    const { address, port } = deps;
    this.#query = new URLSearchParams({ port: String(port), ...(address && { address }) });
  }

  /** Tells all that there are, and whoever is lost from then on. */
  async start(): Promise<void> {
    const { nodes, signal, localNodeName } = this.#deps;
    const onNode = ({ metadata, status }: Node): void => {
      if (metadata.name === localNodeName) return;
      const isLost = getCondition(status?.conditions, 'Ready')?.status === 'Unknown';
      this.#on({ type: 'node', name: metadata.name, isLost });
    };
    const detach = nodes.addHandler({
      onAdd: onNode,
      onUpdate: (_old, node) => onNode(node),
      onDelete: ({ metadata }) => this.#on({ type: 'gone', name: metadata.name }),
    });
    const stop = (): void => {
      detach();
      this.#timer?.cancel();
    };
    signal.addEventListener('abort', stop, { once: true });
    await nodes.whenSynced();
    this.tell();
  }

  /** It is reached elsewhere by now. */
  tell(): void {
    this.#on({ type: 'place' });
  }

  #on(event: CallsEvent): void {
    const { clock, signal } = this.#deps;
    if (signal.aborted) return;
    const { calls, begin } = step(this.#calls, event, clock.monotonicMs());
    this.#calls = calls;
    for (const name of begin) void this.#call(name);
    this.#timer?.cancel();
    const atMs = wakeAtMs(calls);
    this.#timer =
      atMs === undefined
        ? undefined
        : clock.timer(Math.ceil(atMs - clock.monotonicMs()), () => this.#on({ type: 'time' }));
  }

  async #call(name: string): Promise<void> {
    const { clock, logger, signal } = this.#deps;
    const late = new AbortController();
    const timer = clock.timer(timeoutMs.all, () => late.abort());
    let isTold = false;
    try {
      const status = await this.#put(name, AbortSignal.any([signal, late.signal]));
      isTold = status === 200;
      logger.debug('Told a node where this API server is', { node: name, status });
    } catch (error) {
      logger.debug('A node was not told where this API server is', { node: name, error });
    } finally {
      timer.cancel();
    }
    this.#on({ type: 'called', name, isTold });
  }

  async #put(name: string, signal: AbortSignal): Promise<number> {
    const { status, chunks } = await this.#deps.kubelet.stream(name, {
      method: 'PUT',
      path: apiServerHintPath,
      query: this.#query,
      addressTimeoutMs: timeoutMs.address,
      signal,
    });
    // Read to its end, that the connection may go; whoever says more is cut off.
    let leftBytes = answerMaxBytes;
    for await (const { length } of chunks) if ((leftBytes -= length) <= 0) break;
    return status;
  }
}
