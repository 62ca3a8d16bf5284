// What the nodes use, asked of their agents when somebody wants to know: all at once, none waited
// for longer than a moment. An answer is good for a few seconds, so many who ask cost no more than
// one. A node that does not answer is left out.
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { isObject } from '#kube/machinery/equality.ts';
import type { KubeletClient } from '../handlers/kubelet-client.ts';

export interface UsageSample {
  readonly cpuNanoCores: number;
  readonly memoryBytes: number;
}

export interface PodUsage {
  /** By container; undefined: not known yet. */
  readonly containers: ReadonlyMap<string, UsageSample | undefined>;
}

export interface NodeUsage {
  readonly timeMs: number;
  /** CPU time was counted for so long. */
  readonly windowMs: number;
  /** Undefined: not known yet. */
  readonly node: UsageSample | undefined;
  /** By `namespace/name`. */
  readonly pods: ReadonlyMap<string, PodUsage>;
}

/** An agent that was not asked for long looks twice, half a second apart. */
const deadlineMs = 3000;
const freshMs = 5000;
const maxBytes = 8 * 1024 * 1024;

interface Asked {
  readonly atMs: number;
  readonly usage: Promise<NodeUsage | undefined>;
}

export interface NodeSamplesDeps {
  readonly kubelet: KubeletClient;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class NodeSamples {
  readonly #deps: NodeSamplesDeps;
  /** Of the nodes that were asked a few seconds ago; no others. */
  readonly #asked = new Map<string, Asked>();

  constructor(deps: NodeSamplesDeps) {
    this.#deps = deps;
  }

  /** By node. */
  async of(nodeNames: Iterable<string>): Promise<ReadonlyMap<string, NodeUsage>> {
    const names = [...new Set(nodeNames)];
    const nowMs = this.#deps.clock.monotonicMs();
    for (const [name, { atMs }] of this.#asked)
      if (nowMs - atMs > freshMs) this.#asked.delete(name);
    const all = await Promise.all(names.map((name) => this.#usage(name, nowMs)));
    const known = names.map((name, index) => [name, all[index]] as const);
    return new Map(known.filter((entry): entry is [string, NodeUsage] => entry[1] !== undefined));
  }

  #usage(name: string, nowMs: number): Promise<NodeUsage | undefined> {
    const asked = this.#asked.get(name) ?? { atMs: nowMs, usage: this.#ask(name) };
    this.#asked.set(name, asked);
    return asked.usage;
  }

  async #ask(nodeName: string): Promise<NodeUsage | undefined> {
    const { kubelet, clock, logger } = this.#deps;
    const expiry = new AbortController();
    const timer = clock.timer(deadlineMs, () => expiry.abort());
    const gone = new Promise<never>((_resolve, reject) => {
      expiry.signal.addEventListener('abort', () =>
        reject(new Error(`no answer within ${deadlineMs / 1000} s`)),
      );
    });
    try {
      return await Promise.race([this.#read(kubelet, nodeName, expiry.signal), gone]);
    } catch (error) {
      logger.debug('A node did not say what it uses', { node: nodeName, error });
      return undefined;
    } finally {
      timer.cancel();
    }
  }

  async #read(kubelet: KubeletClient, nodeName: string, signal: AbortSignal): Promise<NodeUsage> {
    const { status, chunks } = await kubelet.stream(nodeName, {
      method: 'GET',
      path: '/stats/sample',
      query: new URLSearchParams(),
      signal,
    });
    const parts: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of chunks) {
      parts.push(chunk);
      length += chunk.length;
      if (length > maxBytes) throw new Error(`the answer is longer than ${maxBytes} bytes`);
    }
    const text = Buffer.concat(parts).toString();
    if (status !== 200) throw new Error(`${status}: ${text.slice(0, 200)}`);
    return parseUsage(JSON.parse(text));
  }
}

/** A sample as the agent gives it (agent/metrics/collector.ts). Throws for anything else. */
export function parseUsage(sample: unknown): NodeUsage {
  if (!isObject(sample) || !isObject(sample['node']) || !Array.isArray(sample['pods']))
    throw new Error('the answer is no sample');
  const timeMs = Date.parse(String(sample['time']));
  const { windowMs, node, pods } = sample;
  if (!Number.isFinite(timeMs) || typeof windowMs !== 'number')
    throw new Error('the sample does not say of when it is');
  return {
    timeMs,
    windowMs,
    node: usageOf(node),
    pods: new Map(
      pods
        .filter(isObject)
        .map((pod) => [`${String(pod['namespace'])}/${String(pod['name'])}`, podUsage(pod)]),
    ),
  };
}

function podUsage({ containers }: Record<string, unknown>): PodUsage {
  const all = Array.isArray(containers) ? containers.filter(isObject) : [];
  return { containers: new Map(all.map((one) => [String(one['name']), usageOf(one)])) };
}

function usageOf(value: Record<string, unknown>): UsageSample | undefined {
  const { cpuNanoCores, memoryWorkingSetBytes } = value;
  if (typeof cpuNanoCores !== 'number' || typeof memoryWorkingSetBytes !== 'number')
    return undefined;
  return { cpuNanoCores, memoryBytes: memoryWorkingSetBytes };
}
