// A node as a machine of the home: its face, its health in words, its size, what it lacks.
// Pure: objects in, view out. Live use comes from the stats stream, not from here.
import type { Node, NodeCondition, Pod } from '#kube/api/core.ts';
import { nodeTitle } from '#kube/machinery/node-title.ts';
import { quantityNumber } from './amounts.ts';
import {
  engineState,
  proxyModeAnnotation,
  proxyReasonAnnotation,
  type EngineState,
} from './engine.ts';
import { describeOperation, type OperationView } from './operation.ts';
import type { Tone } from './vocabulary.ts';

export type Face = 'pi' | 'mini' | 'tower' | 'laptop';

export interface HealthLine {
  readonly tone: Tone;
  readonly text: string;
  readonly original: string;
}

export interface Machine {
  readonly name: string;
  /** What people call it. */
  readonly title: string;
  /** What is being done with it, or could not be. */
  readonly operation: OperationView | undefined;
  readonly node: Node;
  readonly face: Face;
  readonly tone: Tone;
  /** `Well`, `Needs a container engine`, … */
  readonly word: string;
  readonly engine: EngineState;
  readonly health: readonly HealthLine[];
  /** One line: `Debian 12 · x86 · 8 cores · 16 GB`. */
  readonly cores: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly architecture: string;
  readonly system: string;
  readonly address: string;
  readonly pods: readonly Pod[];
  /** Ports are opened in user space, because the agent is not root. */
  readonly isUserSpaceProxy: boolean;
  /** What the agent says about its proxying, in its own words; '' when there is nothing to say. */
  readonly proxyReason: string;
}

export function describeMachine(node: Node, pods: readonly Pod[]): Machine {
  const { capacity = {}, nodeInfo, addresses = [] } = node.status ?? {};
  const engine = engineState(node);
  const health = healthLines(node);
  const operation = describeOperation(node);
  const [tone, word] =
    operation?.isMeant === true
      ? ([operation.tone, operation.word] as const)
      : verdict(engine, health, node);
  const proxyMode = node.metadata.annotations?.[proxyModeAnnotation] ?? '';
  return {
    name: node.metadata.name,
    title: nodeTitle(node),
    operation,
    node,
    face: faceOf(node),
    tone,
    word,
    engine,
    health,
    cores: quantityNumber(capacity['cpu']),
    memoryBytes: quantityNumber(capacity['memory']),
    diskBytes: quantityNumber(capacity['ephemeral-storage']),
    architecture: architectureWords(nodeInfo?.architecture ?? ''),
    system: nodeInfo?.osImage ?? '',
    address: addresses.find(({ type }) => type === 'InternalIP')?.address ?? '',
    pods: pods.filter(
      ({ spec, status }) => spec.nodeName === node.metadata.name && !isOver(status?.phase),
    ),
    isUserSpaceProxy: proxyMode === 'userspace',
    proxyReason: node.metadata.annotations?.[proxyReasonAnnotation] ?? '',
  };
}

function isOver(phase: string | undefined): boolean {
  return phase === 'Succeeded' || phase === 'Failed';
}

function verdict(engine: EngineState, health: readonly HealthLine[], node: Node): [Tone, string] {
  switch (engine.kind) {
    case 'missing':
    case 'by-hand':
      return ['trouble', 'Needs a container engine'];
    case 'installing':
      return ['busy', 'Installing its container engine'];
    case 'failed':
      return ['trouble', 'Could not install its container engine'];
    case 'stopped':
      return ['trouble', 'Its container engine is stopped'];
    case 'forbidden':
      return ['trouble', 'May not use its container engine'];
    case 'silent':
      if (isAsleep(node)) return ['asleep', 'Asleep'];
      return ['gone', 'Does not answer'];
    case 'unready':
      return ['busy', 'Getting ready'];
    case 'ready':
      break;
  }
  const worst = health.find(({ tone }) => tone === 'trouble' || tone === 'wait');
  if (worst !== undefined) return [worst.tone, worst.text];
  if (node.spec?.unschedulable === true) return ['asleep', 'Closed for new copies'];
  return ['ok', 'Well'];
}

export function isAsleep(node: Node): boolean {
  return (
    node.status?.conditions?.some(({ type, status }) => type === 'Asleep' && status === 'True') ===
    true
  );
}

const pressureWords: Readonly<Record<string, readonly [well: string, ill: string]>> = {
  MemoryPressure: ['Has memory to spare', 'Is short of memory'],
  DiskPressure: ['Has disk space to spare', 'Is short of disk space'],
  PIDPressure: ['Has room for more processes', 'Runs too many processes'],
  MemoryLimitsNotEnforced: [
    'Keeps apps within their memory',
    "Can't keep apps within their memory",
  ],
  ClockSkew: ['Its clock is right', "Its clock differs from the cluster's"],
  SlowDisk: ['Its disk keeps up', 'Its disk is slow'],
  NetworkUnavailable: ['Its network is up', 'Its network is not set up'],
  NetworkPoliciesNotEnforced: [
    'It keeps to network policies',
    'It does not keep to network policies',
  ],
  FirewallInTheWay: ['Its firewall lets the home through', 'Its firewall holds something back'],
};

/** Apps run all the same. */
const bearable: ReadonlySet<string> = new Set([
  'MemoryLimitsNotEnforced',
  'ClockSkew',
  'SlowDisk',
  'FirewallInTheWay',
]);

/** Conditions in words, Ready first, then those that are ill. */
export function healthLines(node: Node): HealthLine[] {
  const lines: HealthLine[] = [];
  for (const condition of node.status?.conditions ?? []) {
    const line = healthLine(condition);
    if (line !== undefined) lines.push(line);
  }
  return lines.sort((a, b) => rank(a) - rank(b));
}

function healthLine(condition: NodeCondition): HealthLine | undefined {
  const original = `${condition.type}=${condition.status} ${condition.reason ?? ''}: ${condition.message ?? ''}`;
  if (condition.type === 'Ready') return undefined;
  const words = pressureWords[condition.type];
  if (words === undefined || condition.status === 'Unknown') return undefined;
  const isIll = condition.status === 'True';
  const ill = bearable.has(condition.type) ? 'wait' : 'trouble';
  return { tone: isIll ? ill : 'ok', text: isIll ? words[1] : words[0], original };
}

function rank({ tone }: HealthLine): number {
  return tone === 'ok' ? 1 : 0;
}

/** The drawing that fits best: by architecture and names first, then by size. */
export function faceOf(node: Node): Face {
  const told = node.metadata.labels?.['flotilla.dev/face'] ?? '';
  if (told === 'pi' || told === 'mini' || told === 'tower' || told === 'laptop') return told;
  const { architecture = '', osImage = '' } = node.status?.nodeInfo ?? {};
  const name = node.metadata.name.toLowerCase();
  if (/laptop|macbook|notebook|thinkpad|framework|xps/.test(name)) return 'laptop';
  if (/raspb|\bpi\d?\b/.test(name) || /raspb/i.test(osImage)) return 'pi';
  if (/^(arm|aarch)/.test(architecture)) return 'pi';
  return quantityNumber(node.status?.capacity?.['cpu']) >= 12 ? 'tower' : 'mini';
}

function architectureWords(architecture: string): string {
  switch (architecture) {
    case 'amd64':
      return 'x86, 64 bit';
    case 'arm64':
      return 'ARM, 64 bit';
    default:
      return architecture;
  }
}
