// The decision: which node a pod gets, or why none. Pure but for Random, which chooses among nodes
// with the same highest score; same input and same seed, same node.
// Source: kubernetes pkg/scheduler/schedule_one.go (findNodesThatFitPod, prioritizeNodes, selectHost).
import type { Random } from '#kube/base/random.ts';
import type { FitError } from './fit-error.ts';
import {
  unresolvable,
  type CycleState,
  type ProfileEntry,
  type Snapshot,
  type Status,
} from './framework.ts';
import type { NodeInfo, PodInfo } from './node-info.ts';

export type ScheduleResult =
  | {
      readonly type: 'fits';
      readonly nodeName: string;
      readonly feasibleCount: number;
      /** What plugins decided besides. */
      readonly state: CycleState;
    }
  | { readonly type: 'fits-nowhere'; readonly error: FitError };

export function schedulePod(
  pod: PodInfo,
  snapshot: Snapshot,
  options: { readonly profile: readonly ProfileEntry[]; readonly random: Random },
): ScheduleResult {
  const { profile, random } = options;
  const state: CycleState = new Map();
  const filtered = findNodesThatFit(state, pod, snapshot, profile);
  if (!Array.isArray(filtered)) return { type: 'fits-nowhere', error: filtered };
  const totals = scoreNodes({ state, pod, snapshot, profile }, filtered);
  const nodeName = selectHost(filtered, totals, random);
  return { type: 'fits', nodeName, feasibleCount: filtered.length, state };
}

function findNodesThatFit(
  state: CycleState,
  pod: PodInfo,
  snapshot: Snapshot,
  profile: readonly ProfileEntry[],
): NodeInfo[] | FitError {
  const mayPreempt = pod.pod.spec?.preemptionPolicy !== 'Never';
  const nodeCount = snapshot.nodes.length;
  const narrowed = runPreFilter(state, pod, snapshot, profile);
  if (narrowed.status !== undefined)
    return {
      nodeCount,
      preFilterReasons: narrowed.status.reasons,
      statuses: new Map(),
      plugins: narrowed.plugins,
      mayPreempt,
    };
  const statuses = new Map<string, Status>();
  const plugins = new Set<string>();
  const feasible: NodeInfo[] = [];
  for (const node of snapshot.nodes) {
    if (narrowed.nodeNames?.has(node.name) === false) {
      const names = [...narrowed.plugins].toSorted().join(' ');
      statuses.set(node.name, unresolvable(`node(s) didn't satisfy plugin(s) [${names}]`));
      for (const name of narrowed.plugins) plugins.add(name);
      continue;
    }
    const refusal = runFilter(state, pod, node, profile);
    if (refusal === undefined) feasible.push(node);
    else {
      statuses.set(node.name, refusal.status);
      plugins.add(refusal.plugin);
    }
  }
  return feasible.length > 0 ? feasible : { nodeCount, statuses, plugins, mayPreempt };
}

interface Narrowed {
  readonly status?: Status;
  readonly nodeNames?: ReadonlySet<string>;
  /** Those that refused or narrowed. */
  readonly plugins: ReadonlySet<string>;
}

function runPreFilter(
  state: CycleState,
  pod: PodInfo,
  snapshot: Snapshot,
  profile: readonly ProfileEntry[],
): Narrowed {
  let nodeNames: ReadonlySet<string> | undefined;
  const plugins = new Set<string>();
  for (const { plugin } of profile) {
    const result = plugin.preFilter?.(state, pod, snapshot);
    if (result?.status !== undefined)
      return { status: result.status, plugins: new Set([plugin.name]) };
    if (result?.nodeNames === undefined) continue;
    nodeNames = intersect(nodeNames, result.nodeNames);
    plugins.add(plugin.name);
  }
  return nodeNames === undefined ? { plugins } : { nodeNames, plugins };
}

function intersect(
  a: ReadonlySet<string> | undefined,
  b: ReadonlySet<string>,
): ReadonlySet<string> {
  return a === undefined ? b : new Set([...a].filter((name) => b.has(name)));
}

/** The first refusal; later plugins aren't asked. */
function runFilter(
  state: CycleState,
  pod: PodInfo,
  node: NodeInfo,
  profile: readonly ProfileEntry[],
): { readonly plugin: string; readonly status: Status } | undefined {
  for (const { plugin } of profile) {
    const status = plugin.filter?.(state, pod, node);
    if (status !== undefined) return { plugin: plugin.name, status };
  }
  return undefined;
}

interface Cycle {
  readonly state: CycleState;
  readonly pod: PodInfo;
  readonly snapshot: Snapshot;
  readonly profile: readonly ProfileEntry[];
}

/** Weighted sums, in the order of `nodes`. */
function scoreNodes(cycle: Cycle, nodes: readonly NodeInfo[]): readonly number[] {
  const { state, pod, snapshot, profile } = cycle;
  const totals = nodes.map(() => 0);
  if (nodes.length === 1) return totals;
  for (const { plugin, weight } of profile) {
    if (plugin.score === undefined) continue;
    if (plugin.preScore?.(state, pod, nodes, snapshot) === 'skip') continue;
    const raw = nodes.map((node) => plugin.score?.(state, pod, node) ?? 0);
    const scores = plugin.normalizeScore?.(raw) ?? raw;
    for (const [i, score] of scores.entries()) totals[i] = (totals[i] ?? 0) + score * weight;
  }
  return totals;
}

function selectHost(nodes: readonly NodeInfo[], totals: readonly number[], random: Random): string {
  const highest = Math.max(...totals);
  const best = nodes.filter((_, i) => totals[i] === highest);
  const chosen = best.length === 1 ? 0 : Math.floor(random.next() * best.length);
  return best[chosen]?.name ?? '';
}
