// What one seed sets up: how many members and clients, how large and how fast things are, and which
// faults there are. Each seed enables some of the faults only: rare meetings of two need the others
// to be quiet (swarm testing). Decided once, before anything runs.
import type { ReplicaDeps, ReplicaTiming } from '../../../electron/controlplane/replica/replica.ts';
import {
  defaultLogLimits,
  type LogLimits,
} from '../../../electron/controlplane/replica/log-keeper.ts';
import type { WatchLimits } from '../../../electron/controlplane/store/watch-hub.ts';
import type { Weather } from './network.ts';
import type { World } from './world.ts';

export const faults = [
  'partition',
  'one-way',
  'isolate-leader',
  'crash',
  'kill',
  'blackout',
  'write-fails',
  'sync-fails',
  'flip',
  'freeze',
  'sleep',
  'log-full',
  'state-full',
  'members',
  'transfer',
  'skew',
  'lose-disk',
  'update',
] as const;
export type Fault = (typeof faults)[number];

export interface Plan {
  readonly size: number;
  readonly clients: number;
  readonly watchers: number;
  readonly faults: readonly Fault[];
  /** For how long there are faults. */
  readonly stormMs: number;
  /** From one fault to the next, at most. */
  readonly paceMs: number;
  /** A client waits so long between two calls, at most. */
  readonly thinkMs: number;
  /** How many keys the clients share. */
  readonly keys: number;
  readonly valueBytesMax: number;
  readonly hasLeases: boolean;
  /** Some members begin with the release before. */
  readonly hasOldReleases: boolean;
  /** A removed member is told so at the door. */
  readonly refusesRemoved: boolean;
  readonly hasCompactions: boolean;
  readonly weather: Weather;
  readonly diskMsMax: number;
  readonly segmentBytes: number;
  readonly timing: ReplicaTiming;
  readonly logLimits: LogLimits;
  readonly protocolLimits: Required<NonNullable<ReplicaDeps<unknown>['protocolLimits']>>;
  readonly watchLimits: WatchLimits;
}

const kib = 1024;

/** As the app runs it, and four times as fast: more elections in the same time. */
const timings: readonly ReplicaTiming[] = [
  { tickMs: 50, idleTickMs: 1000, electionTicks: 12, heartbeatTicks: 2, patienceMs: 5000 },
  { tickMs: 15, idleTickMs: 250, electionTicks: 10, heartbeatTicks: 2, patienceMs: 1200 },
  { tickMs: 15, idleTickMs: 250, electionTicks: 10, heartbeatTicks: 2, patienceMs: 1200 },
];

export function planFor(world: World): Plan {
  const timing = world.pick(timings);
  const inflightMessagesMax = world.pick([2, 4, 256]);
  const storm = timing.tickMs > 20 ? world.integer(4, 10) : world.integer(2, 6);
  return {
    size: world.pick([1, 2, 3, 3, 3, 3, 3, 4, 5, 5]),
    clients: world.integer(2, 6),
    watchers: world.integer(1, 3),
    faults: chooseFaults(world),
    stormMs: storm * 1000,
    paceMs: world.pick([100, 300, 800]),
    thinkMs: world.pick([20, 60, 200]),
    keys: world.pick([1, 3, 8]),
    valueBytesMax: world.pick([16, 16, 300, 3000]),
    hasLeases: world.chance(0.4),
    hasOldReleases: world.chance(0.25),
    refusesRemoved: world.chance(0.5),
    hasCompactions: world.chance(0.5),
    weather: chooseWeather(world),
    diskMsMax: world.pick([1, 5, 30]),
    segmentBytes: world.pick([16, 64, 64]) * kib,
    timing,
    logLimits: chooseLogLimits(world),
    protocolLimits: {
      electionTicks: timing.electionTicks,
      heartbeatTicks: timing.heartbeatTicks,
      messageBytesMax: world.pick([200, 2 * kib, 64 * kib]),
      inflightMessagesMax,
      inflightBytesMax: world.pick([2, 64]) * kib,
      uncommittedBytesMax: world.pick([4, 256]) * kib,
    },
    watchLimits: {
      bufferedEventsMax: world.pick([2, 1000]),
      bufferedBytesMax: world.pick([2 * kib, 1000 * kib]),
      behindRevisionsMax: world.pick([40, 10_000]),
    },
  };
}

function chooseFaults(world: World): readonly Fault[] {
  const share = world.pick([0.15, 0.3, 0.6]);
  const chosen = faults.filter(() => world.chance(share));
  return chosen.length > 0 ? chosen : [world.pick(faults)];
}

function chooseWeather(world: World): Weather {
  return {
    lossRate: world.pick([0, 0, 0.02, 0.1, 0.3]),
    duplicateRate: world.pick([0, 0, 0.1, 0.3]),
    delayMsMax: world.pick([2, 2, 10, 40]),
    straggleMsMax: world.pick([0, 0, 300, 2000]),
  };
}

function chooseLogLimits(world: World): LogLimits {
  if (world.chance(0.3)) return { ...defaultLogLimits, flushMs: 500 };
  const tailBytes = world.pick([2, 64]) * kib;
  const stepBytes = world.pick([4, 16]) * kib;
  return {
    tailEntries: world.pick([0, 5, 20]),
    tailBytes,
    stepEntries: world.pick([2, 10]),
    stepBytes,
    flushMs: world.pick([500, 60_000]),
    logBytesMax: tailBytes + 2 * stepBytes + world.pick([16, 4000]) * kib,
  };
}
