// What must come about in enough seeds together: a storm that never happens proves nothing.

export const happenings = [
  // Between members.
  'message lost',
  'message straggled',
  'message duplicated',
  'message overtaken',
  'message cut off both ways',
  'message cut off one way',
  'peer told unreachable',
  // To machines.
  'crash',
  'crash that lost unsynced log',
  'crash that lost unsynced state',
  'kill',
  'blackout',
  'failed log write',
  'failed state sync',
  'flipped bit',
  'disk lost',
  'lost disk noticed',
  'release updated',
  'damage noticed at a start',
  'frozen for an hour',
  'everybody asleep for an hour',
  'clock set',
  'log disk full',
  'state disk full',
  // In the group.
  'leader elected',
  'leadership handed over',
  'member added',
  'member removed',
  'removed member refused',
  'old release refused',
  'voters changed',
  'uncommitted tail cut off',
  'log compacted',
  'snapshot broke off',
  'snapshot installed',
  'proposal forwarded',
  'read forwarded',
  // To clients.
  'unknown outcome',
  'refusal',
  'refusal for want of space',
  'conflict',
  'history compacted',
  'lease kept',
  'lease expired',
  'expiry void',
  'watch went on elsewhere',
  'watch too slow or compacted',
] as const;
export type Happening = (typeof happenings)[number];

/** How often; what is missing never happened. */
export type Tally = ReadonlyMap<Happening, number>;

export function add(to: Map<Happening, number>, more: Tally): void {
  for (const [what, count] of more) to.set(what, (to.get(what) ?? 0) + count);
}

export function missing(tally: Tally): readonly Happening[] {
  return happenings.filter((what) => !tally.has(what));
}
