// Which machine gets the control plane of this release next: one at a time, followers first and whoever leads last, the next
// one when the last one serves again and has all that the leader has, and none any more once one went back. Pure.
import type { Node } from '#kube/api/core.ts';
import type { MembersReport } from '#kube/api/flotilla.ts';
import { digestOf, parseUpgrade } from '#kube/machinery/agent-versions.ts';
import {
  controlPlaneReportAnnotation,
  controlPlaneTargetAnnotation,
  controlPlaneVersionAnnotation,
} from '#kube/machinery/control-planes.ts';
import type { UpgradeStep } from './plan.ts';

/** `placed`: names of the members that were placed as packages. */
export function nextControlPlane(
  nodes: readonly Node[],
  report: Pick<MembersReport, 'members'>,
  placed: ReadonlySet<string>,
  wanted: string,
): UpgradeStep {
  const all = nodes
    .filter(({ metadata }) => placed.has(metadata.name))
    .map((node) => stateOf(node, report, wanted))
    .toSorted((a, b) => Number(a.isLeader) - Number(b.isLeader) || (a.name < b.name ? -1 : 1));
  const failed = all.find(({ failure }) => failure !== undefined);
  if (failed !== undefined)
    return { type: 'stop', nodeName: failed.name, why: failed.failure ?? '' };
  const busy = all.find(({ isTold, isCurrent, isWell }) => isTold && !(isCurrent && isWell));
  if (busy !== undefined) return { type: 'wait', nodeName: busy.name };
  const next = all.find(({ isCurrent, isWell }) => !isCurrent && isWell);
  if (next === undefined) return { type: 'done' };
  return { type: 'tell', nodeName: next.name, version: wanted };
}

function stateOf({ metadata }: Node, { members }: Pick<MembersReport, 'members'>, wanted: string) {
  const { annotations = {}, name } = metadata;
  const member = members.find((one) => one.name === name);
  const report = parseUpgrade(annotations[controlPlaneReportAnnotation]);
  const isAboutIt = report?.digest === digestOf(wanted);
  // Only the leader hears of all; of who leads, somebody else is enough.
  const isWell = member !== undefined && (member.isLeader || member.health !== 'unreachable');
  return {
    name,
    isLeader: member?.isLeader === true,
    isWell,
    isCurrent: annotations[controlPlaneVersionAnnotation] === wanted,
    isTold: annotations[controlPlaneTargetAnnotation] === wanted,
    failure: isAboutIt && report.state === 'Failed' ? report.why : undefined,
  };
}
