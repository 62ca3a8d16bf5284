// What a majority of the voters agrees on. Pure; nothing here knows members, only numbers.
// Source: Raft thesis §3.6.2 (commit), §3.4 (votes); etcd-io/raft quorum/majority.go.

export function majority(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/**
 * The greatest number that a majority of `values` reaches; 0 for no values. Sorts `values` in place
 * (by insertion: there are at most a handful, and a scratch array is never garbage).
 */
export function majorityReaches(values: number[]): number {
  for (let i = 1; i < values.length; i += 1) {
    const value = values[i] ?? 0;
    let at = i;
    while (at > 0 && (values[at - 1] ?? 0) < value) {
      values[at] = values[at - 1] ?? 0;
      at -= 1;
    }
    values[at] = value;
  }
  return values[majority(values.length) - 1] ?? 0;
}

export type BallotResult = 'won' | 'lost' | 'pending';

/** `votes`: who answered, and how; only voters' answers count. Nobody wins without voters. */
export function tally(
  voters: readonly number[],
  votes: ReadonlyMap<number, boolean>,
): BallotResult {
  let granted = 0;
  let refused = 0;
  for (const voter of voters) {
    const vote = votes.get(voter);
    if (vote === true) granted += 1;
    else if (vote === false) refused += 1;
  }
  const needed = majority(voters.length);
  if (granted >= needed) return 'won';
  return voters.length - refused < needed ? 'lost' : 'pending';
}
