// Which machine gets the agent of this release next: one at a time, the next one when the last one is ready again, and
// none any more once one of them failed. Pure. That a machine goes back by itself is its supervisor's business
// (package/supervisor.ts); here it is only heard of.
import {
  digestOf,
  parseUpgrade,
  targetAnnotation,
  targetSinceAnnotation,
  upgradeAnnotation,
  versionAnnotation,
} from '#kube/machinery/agent-versions.ts';
import type { Node } from '#kube/api/core.ts';
import { getCondition } from '#kube/machinery/conditions.ts';

export type UpgradeStep =
  /** Tell this node to run that version. */
  | { readonly type: 'tell'; readonly nodeName: string; readonly version: string }
  /** One is at it, or has to be ready first. */
  | { readonly type: 'wait'; readonly nodeName: string }
  /** It failed there: a person has to look, or another release has to come. */
  | { readonly type: 'stop'; readonly nodeName: string; readonly why: string }
  | { readonly type: 'done' };

/** A trial takes a minute and a half, and fetching it over a slow line some minutes. */
const patienceMs = 15 * 60_000;

/** `wanted`: the version that this release has for a node's architecture, as `kubernetes.io/arch` names it; undefined: none. */
export function nextUpgrade(
  nodes: readonly Node[],
  wanted: (architecture: string) => string | undefined,
  nowMs: number,
): UpgradeStep {
  const all = nodes
    .map((node) => stateOf(node, wanted, nowMs))
    .filter((state) => state !== undefined)
    .toSorted((a, b) => (a.nodeName < b.nodeName ? -1 : 1));
  const failed = all.find(({ failure }) => failure !== undefined);
  if (failed !== undefined)
    return { type: 'stop', nodeName: failed.nodeName, why: failed.failure ?? '' };
  const told = all.filter(({ isTold, isCurrent, isReady }) => isTold && !(isCurrent && isReady));
  // One may have been switched off meanwhile; two that don't come back are no accident.
  const [first, second] = told.filter(({ isOverdue }) => isOverdue);
  if (first !== undefined && second !== undefined)
    return {
      type: 'stop',
      nodeName: second.nodeName,
      why: `neither it nor ${first.nodeName} came back from the upgrade`,
    };
  const busy = told.find(({ isOverdue }) => !isOverdue);
  if (busy !== undefined) return { type: 'wait', nodeName: busy.nodeName };
  // One that is off gets it when it is back.
  const waiting = all.filter(({ isCurrent, isReady, isTold }) => !isCurrent && isReady && !isTold);
  // One that is on the way to another release comes first: two would be at it else.
  const next = waiting.find(({ isUnderWay }) => isUnderWay) ?? waiting[0];
  if (next === undefined) return { type: 'done' };
  return { type: 'tell', nodeName: next.nodeName, version: next.version };
}

interface NodeState {
  readonly nodeName: string;
  readonly version: string;
  readonly isReady: boolean;
  readonly isCurrent: boolean;
  readonly isTold: boolean;
  /** It was told long ago, and is not ready with it. */
  readonly isOverdue: boolean;
  /** To whatever it was told. */
  readonly isUnderWay: boolean;
  /** Of the wanted version. */
  readonly failure: string | undefined;
}

/** Undefined: its agent is no package, or there is none for it. */
function stateOf(
  { metadata, status }: Node,
  wanted: (architecture: string) => string | undefined,
  nowMs: number,
): NodeState | undefined {
  const annotations = metadata.annotations ?? {};
  const { [versionAnnotation]: runs, [targetAnnotation]: told } = annotations;
  const version = wanted(status?.nodeInfo?.architecture ?? '');
  if (runs === undefined || version === undefined) return undefined;
  const report = parseUpgrade(annotations[upgradeAnnotation]);
  const isAboutIt = report?.digest === digestOf(version);
  return {
    nodeName: metadata.name,
    version,
    isReady: getCondition(status?.conditions, 'Ready')?.status === 'True',
    isCurrent: runs === version,
    isTold: told === version,
    isOverdue: nowMs - (Date.parse(annotations[targetSinceAnnotation] ?? '') || nowMs) > patienceMs,
    isUnderWay: told !== undefined && told !== runs && report?.state !== 'Failed',
    failure: report?.state === 'Failed' && isAboutIt ? report.why : undefined,
  };
}
