// How many puts a group takes, how long they take and what CPU they cost. Ours is driven by callers
// inside the leader's process through `Store`, etcd by a client over gRPC: each as an API server
// uses it. The gRPC rows drive both by the same client.
import { cpuMs } from '../process-usage.ts';
import { row, type Row } from '../harness.ts';
import type { LoadOptions, LoadResult } from '../load.ts';
import type { Group } from '../server-group.ts';
import { peerName, type Plan, type Sides } from './plan.ts';

export const callerCounts = [1, 32, 256] as const;
const keyCount = 10_000;
/** Whose p99 and CPU are looked at. */
const watchedCallers = 32;

interface Sample extends LoadResult {
  /** Of all servers of the group, for each put. */
  readonly cpuMicrosPerPut: number;
}

type Series = Map<number, Sample[]>;

interface Measured {
  readonly ours: Series;
  readonly etcd: Series;
  /** Ours by etcd's API. */
  readonly grpc: Series;
}

export async function puts(sides: Sides, plan: Plan): Promise<Row[]> {
  const size = sides.ours.servers.length;
  const measured = await measure(sides, plan, size > 1);
  const nodes = size === 1 ? 'one node' : 'three nodes';
  const goals = size === 1 ? [1, 3, 3] : [1, 3, 2];
  const rows = callerCounts.map((callers, i) =>
    compared(`put 1 KB, ${nodes}, ${plural(callers)}`, measured, callers, {
      unit: 'puts/s',
      of: (sample) => sample.putsPerSecond,
      atLeast: goals[i] ?? 0,
    }),
  );
  if (size === 1) return rows;
  const { grpc, etcd } = measured;
  return [
    ...rows,
    compared(`put p99, ${nodes}, ${plural(watchedCallers)}`, measured, watchedCallers, {
      unit: 'ms',
      of: (sample) => sample.p99Ms,
      atMost: 0.6,
    }),
    ...callerCounts.map((callers) =>
      compared(`put over gRPC, ${nodes}, ${plural(callers)}`, { ours: grpc, etcd }, callers, {
        unit: 'puts/s',
        of: (sample) => sample.putsPerSecond,
        atLeast: 0.7,
      }),
    ),
    compared(`CPU per put, ${nodes}, ${plural(watchedCallers)}`, measured, watchedCallers, {
      unit: 'µs',
      of: (sample) => sample.cpuMicrosPerPut,
      atMost: 0.35,
    }),
  ];
}

async function measure(sides: Sides, plan: Plan, withGrpc: boolean): Promise<Measured> {
  const { ours, etcd, client } = sides;
  const measured: Measured = { ours: new Map(), etcd: new Map(), grpc: new Map() };
  const ourLeader = await ours.leader();
  const { endpoint } = await etcd.leader();
  for (let pair = 0; pair < plan.pairs; pair++) {
    plan.say(`puts, ${ours.servers.length} nodes, ${pair + 1} of ${plan.pairs}`);
    for (const callers of callerCounts) {
      const task = { callers, keyCount, durationMs: plan.putsMs };
      const add = async (series: Series, group: Group, run: () => Promise<LoadResult>) =>
        series.set(callers, [...(series.get(callers) ?? []), await takeSample(group, run)]);
      await add(measured.ours, ours, () => ourLeader.load(task));
      await add(measured.etcd, etcd, () => client.load({ ...task, endpoint }));
      const { endpoint: own } = ourLeader;
      if (withGrpc) await add(measured.grpc, ours, () => client.load({ ...task, endpoint: own }));
    }
  }
  return measured;
}

async function takeSample(group: Group, run: () => Promise<LoadResult>): Promise<Sample> {
  const used = (): number => group.servers.reduce((sum, { pid }) => sum + cpuMs(pid), 0);
  const before = used();
  const result = await run();
  return { ...result, cpuMicrosPerPut: ((used() - before) * 1000) / result.puts };
}

function compared(
  name: string,
  { ours, etcd }: Pick<Measured, 'ours' | 'etcd'>,
  callers: LoadOptions['callers'],
  figure: {
    readonly unit: string;
    readonly of: (sample: Sample) => number;
    readonly atLeast?: number;
    readonly atMost?: number;
  },
): Row {
  const { unit, of, ...bounds } = figure;
  const samples = (series: Series): number[] => (series.get(callers) ?? []).map(of);
  return row(name, samples(ours), {
    unit,
    goal: { of: 'ratio', ...bounds },
    peer: { name: peerName, samples: samples(etcd) },
  });
}

function plural(callers: number): string {
  return callers === 1 ? '1 caller' : `${callers} callers`;
}
