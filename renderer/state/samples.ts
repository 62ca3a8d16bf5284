// One sample of a node's stats stream, checked at the edge, and sums over it. Pure.
// The shape is the agent's: agent/metrics. Unknown numbers are absent, never zero.

export interface ContainerSample {
  readonly name: string;
  readonly cpuNanoCores?: number;
  readonly memoryWorkingSetBytes?: number;
  readonly memoryLimitBytes?: number;
}
export interface PodSample {
  readonly namespace: string;
  readonly name: string;
  readonly containers: readonly ContainerSample[];
  readonly network?: { readonly rxBytes?: number; readonly txBytes?: number };
}
export interface NodeSample {
  readonly cpuNanoCores?: number;
  readonly memoryWorkingSetBytes?: number;
  readonly fsUsedBytes?: number;
  readonly fsCapacityBytes?: number;
}
export interface StatsSample {
  readonly timeMs: number;
  readonly node: NodeSample;
  readonly pods: readonly PodSample[];
}

/** Undefined for a line that is not a sample. */
export function parseSample(value: unknown): StatsSample | undefined {
  if (!isRecord(value)) return undefined;
  const time = value['time'];
  const timeMs = typeof time === 'number' ? time : Date.parse(String(time));
  if (!Number.isFinite(timeMs)) return undefined;
  const pods = Array.isArray(value['pods']) ? value['pods'] : [];
  return { timeMs, node: nodeSample(value['node']), pods: pods.filter(isRecord).map(podSample) };
}

function nodeSample(value: unknown): NodeSample {
  if (!isRecord(value)) return {};
  const fs = isRecord(value['fs']) ? value['fs'] : {};
  return {
    ...numberField('cpuNanoCores', value['cpuNanoCores']),
    ...numberField('memoryWorkingSetBytes', value['memoryWorkingSetBytes']),
    ...numberField('fsUsedBytes', value['fsUsedBytes'] ?? fs['usedBytes']),
    ...numberField('fsCapacityBytes', value['fsCapacityBytes'] ?? fs['capacityBytes']),
  };
}

function podSample(value: Record<string, unknown>): PodSample {
  const containers = Array.isArray(value['containers']) ? value['containers'] : [];
  const network = isRecord(value['network']) ? value['network'] : {};
  return {
    namespace: textOf(value['namespace']),
    name: textOf(value['name']),
    containers: containers.filter(isRecord).map((container) => ({
      name: textOf(container['name']),
      ...numberField('cpuNanoCores', container['cpuNanoCores']),
      ...numberField('memoryWorkingSetBytes', container['memoryWorkingSetBytes']),
      ...numberField('memoryLimitBytes', container['memoryLimitBytes']),
    })),
    network: {
      ...numberField('rxBytes', network['rxBytes']),
      ...numberField('txBytes', network['txBytes']),
    },
  };
}

/** Sum over containers; undefined when none of them knows. */
export function podTotal(
  pod: PodSample,
  field: 'cpuNanoCores' | 'memoryWorkingSetBytes' | 'memoryLimitBytes',
): number | undefined {
  const known = pod.containers
    .map((container) => container[field])
    .filter((value) => value !== undefined);
  return known.length === 0 ? undefined : known.reduce((sum, value) => sum + value, 0);
}

function numberField<K extends string>(key: K, value: unknown): { [P in K]?: number } {
  return typeof value === 'number' && Number.isFinite(value)
    ? ({ [key]: value } as { [P in K]?: number })
    : {};
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
