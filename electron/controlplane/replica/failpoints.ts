// Places at which a test may kill the process, to see what survives. In production nobody hands
// one in, and each place costs one look at an undefined.

/** `log:` write begins · is durable · a segment is taken out of use · has its header · its name */
export const failpointNames = [
  'log:before-write',
  'log:after-write',
  'log:segment-taken',
  'log:segment-written',
  'log:segment-named',
] as const;

export type FailpointName = (typeof failpointNames)[number];
export type Failpoint = (name: FailpointName) => void;

/**
 * `spec`: a name, or `name*N` for the Nth time it is passed; undefined or empty: none. `die` must
 * end the process on the spot. Throws for a name that there is not, so that no test kills nothing.
 */
export function failpointFrom(spec: string | undefined, die: () => void): Failpoint | undefined {
  if (spec === undefined || spec === '') return undefined;
  const [, wanted = '', count = '1'] = /^(.*?)(?:\*(\d+))?$/.exec(spec) ?? [];
  if (!failpointNames.some((name) => name === wanted))
    throw new RangeError(`no failpoint "${wanted}"; there are ${failpointNames.join(', ')}`);
  let left = Number(count);
  return (name) => {
    if (name === wanted && --left === 0) die();
  };
}
