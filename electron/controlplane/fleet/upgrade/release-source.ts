// Whose release the machines get: that of a control plane which came with the app, not of one that was placed on a
// machine as a package, since that one only has what it was given. Pure. One of the members, whoever leads: else two releases
// would take turns.
import type { MembersReport } from '#kube/api/flotilla.ts';

/** `placed`: names of the members that were placed as packages. */
export function isReleaseSource(
  { members }: Pick<MembersReport, 'members'>,
  placed: ReadonlySet<string>,
): boolean {
  const self = members.find((member) => member.isSelf);
  if (self === undefined || placed.has(self.name)) return false;
  const leader = members.find((member) => member.isLeader);
  if (leader === undefined) return false;
  if (!placed.has(leader.name)) return leader.isSelf;
  const [first] = members
    .filter((member) => !placed.has(member.name))
    .toSorted((a, b) => a.id - b.id);
  return first?.isSelf === true;
}
