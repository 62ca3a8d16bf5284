// Places at which a test may kill the process, to see what survives. In production nobody hands
// one in, no flag and no variable arms one, and each place costs one look at an undefined.

/**
 * In the order in which they are passed.
 * `log`: a write begins · is durable · a segment is taken out of use · has its header · its name.
 * `member`: who it is is known · member.json is written · the log has begun, member.json lacks that.
 * `state`: rows are in a transaction · it is committed · SQLite's log is durable · a checkpoint is
 * done · a slice of what was compacted is gone.
 * `snapshot`: copied · a part came in · all did · it is checked and durable · the state in use is
 * closed and its log gone · the snapshot is in its place, and the log knows nothing of it.
 * `restore`: a part of the backup was copied · all of it · it is the beginning of another cluster · it
 * has the state's name · it waits for the next start · the store until then is set aside.
 * `adopt`: a part of the state was read · all is there and checked · it waits for the next start · the keys of
 * before are set aside · the cluster's have their place · and the same of the store.
 * `recover`: the folder is copied · the copy is the beginning of another cluster · it is durable and
 * named so · the old folder is set aside · the new one has its name.
 */
export const failpointNames = [
  'log:before-write',
  'log:after-write',
  'log:segment-taken',
  'log:segment-written',
  'log:segment-named',
  'member:chosen',
  'member:written',
  'member:log-begun',
  'state:in-transaction',
  'state:committed',
  'state:log-synced',
  'state:checkpointed',
  'state:swept',
  'snapshot:copied',
  'snapshot:part',
  'snapshot:received',
  'snapshot:checked',
  'snapshot:old-state-closed',
  'snapshot:in-place',
  'restore:part',
  'restore:copied',
  'restore:begun-anew',
  'restore:in-place',
  'restore:staged',
  'restore:set-aside',
  'adopt:part',
  'adopt:unpacked',
  'adopt:staged',
  'adopt:pki-set-aside',
  'adopt:pki-in-place',
  'adopt:store-set-aside',
  'adopt:store-in-place',
  'recover:copied',
  'recover:begun-anew',
  'recover:named',
  'recover:set-aside',
  'recover:in-place',
] as const;

export type FailpointName = (typeof failpointNames)[number];
export type Failpoint = (name: FailpointName) => void;

/**
 * `spec`: a name, or `name*N` for the Nth time it is passed; undefined or empty: none. `die` must
 * end the process on the spot. Throws for a name that there is not, so that no test kills nothing.
 */
export function failpointFrom(
  spec: string | undefined,
  die: (name: FailpointName) => void,
): Failpoint | undefined {
  if (spec === undefined || spec === '') return undefined;
  const [, wanted = '', count = '1'] = /^(.*?)(?:\*(\d+))?$/.exec(spec) ?? [];
  if (!failpointNames.some((name) => name === wanted))
    throw new RangeError(`no failpoint "${wanted}"; there are ${failpointNames.join(', ')}`);
  let left = Number(count);
  return (name) => {
    if (name === wanted && --left === 0) die(name);
  };
}
