// Pure: ipBlocks as ranges of addresses that don't overlap, which is how the kernel takes them.
import type { IPBlock } from '#kube/api/networking.ts';
import { formatIpv4, parseIpv4Network } from '#kube/machinery/ipv4.ts';

interface Range {
  readonly first: number;
  readonly last: number;
}

/** Of all blocks together, in order: `10.0.0.0-10.0.0.255`, or one address. Blocks of IPv6 have none here. */
export function blockRanges(blocks: readonly IPBlock[]): readonly string[] {
  return union(blocks.flatMap(rangesOf)).map(({ first, last }) =>
    first === last ? formatIpv4(first) : `${formatIpv4(first)}-${formatIpv4(last)}`,
  );
}

function rangesOf({ cidr, except = [] }: IPBlock): readonly Range[] {
  const whole = parseIpv4Network(cidr);
  if (whole === undefined) return [];
  const holes = union(except.map(parseIpv4Network).filter((hole) => hole !== undefined));
  const left: Range[] = [];
  let next = whole.first;
  for (const { first, last } of holes) {
    if (last < next || first > whole.last) continue;
    if (first > next) left.push({ first: next, last: first - 1 });
    next = last + 1;
  }
  if (next <= whole.last) left.push({ first: next, last: whole.last });
  return left;
}

function union(ranges: readonly Range[]): readonly Range[] {
  const joined: Range[] = [];
  for (const range of ranges.toSorted((a, b) => a.first - b.first)) {
    const before = joined.at(-1);
    if (before === undefined || range.first > before.last + 1) joined.push(range);
    else if (range.last > before.last)
      joined[joined.length - 1] = { first: before.first, last: range.last };
  }
  return joined;
}
