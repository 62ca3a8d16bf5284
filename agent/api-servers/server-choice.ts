// Pure: which of the cluster's API servers an agent speaks with, and when it asks another. One is asked after the other, a
// quarter of a second apart, and the first that is ready is taken: a dead one costs that, a frozen one no more. One that
// answers without being ready (no majority, still starting) is better than none. The one on this very machine is gone back to.
// Of a single server nothing is asked: who calls it hears for himself.
import { assert, unreachable } from '#kube/base/assert.ts';

/** `https://host:port` each. */
export interface ServerList {
  /** In the order to try. */
  readonly servers: readonly string[];
  /** Of these, the one on this machine. */
  readonly own: string | undefined;
}

export interface Choice extends ServerList {
  readonly current: string | undefined;
  /** What `current` said last. */
  readonly isReady: boolean;
  readonly round: Round | undefined;
  /** Rounds in a row that found none that is ready. */
  readonly failures: number;
  /** No round begins before. */
  readonly restUntilMs: number;
  /** When somebody better than `current` is looked for. */
  readonly lookAgainMs: number | undefined;
  /** Somebody waits for a server. */
  readonly isWanted: boolean;
  /** The one that failed last, which is tried last. */
  readonly lost: string | undefined;
}

/** One look at all, or some. */
interface Round {
  /** Back to the one on this machine: the other is well. */
  readonly isReturn: boolean;
  readonly left: readonly string[];
  /** Asked, and not heard of yet. */
  readonly open: readonly string[];
  readonly nextMs: number;
  readonly unready: string | undefined;
  /** What was said of those that failed. */
  readonly whys: readonly string[];
}

export type ChoiceEvent =
  | { readonly type: 'wanted' }
  | { readonly type: 'time' }
  /** This machine's addresses changed. */
  | { readonly type: 'network' }
  | ({ readonly type: 'servers' } & ServerList)
  /** One of them says that it is missed: they are among the servers already. */
  | { readonly type: 'heard'; readonly servers: readonly string[] }
  /** What came of `ask`. */
  | { readonly type: 'answered'; readonly server: string; readonly isReady: boolean }
  | { readonly type: 'failed'; readonly server: string; readonly why: string }
  /** The connection in use broke, or could not be made. */
  | { readonly type: 'lost'; readonly server: string }
  /** The one in use is slow, or says that it can't. */
  | { readonly type: 'unwell'; readonly server: string };

export type ChoiceAction =
  | { readonly type: 'ask'; readonly server: string }
  /** From now on. Gently: what goes on at the one before may end there. */
  | { readonly type: 'use'; readonly server: string; readonly isGentle: boolean }
  /** The one in use is in use no more. */
  | { readonly type: 'drop' }
  /** Who waits is told. */
  | { readonly type: 'giveUp'; readonly why: string }
  /** None of those that are known answers: there may be others. */
  | { readonly type: 'search' };

export interface Moment {
  readonly nowMs: number;
  /** In [0, 1). */
  readonly draw: number;
}

export interface Step {
  readonly choice: Choice;
  readonly actions: readonly ChoiceAction[];
}

const staggerMs = 250;
/** Between two rounds. */
const restMs = { well: 1_000, first: 250, max: 5_000 };
const returnMs = 60_000;
/** It has only just been heard of. */
const newcomerMs = 5_000;

export function startOfChoice(list: ServerList): Choice {
  return {
    ...list,
    current: undefined,
    isReady: false,
    round: undefined,
    failures: 0,
    restUntilMs: -Infinity,
    lookAgainMs: undefined,
    isWanted: false,
    lost: undefined,
  };
}

export function step(choice: Choice, event: ChoiceEvent, moment: Moment): Step {
  switch (event.type) {
    case 'wanted':
      return onWanted({ ...choice, isWanted: true }, moment);
    case 'time':
      return onTime(choice, moment);
    case 'network':
      return onWanted({ ...choice, failures: 0, restUntilMs: moment.nowMs }, moment);
    case 'servers':
      return onServers(choice, event, moment);
    case 'heard':
      return onHeard(choice, event.servers, moment);
    case 'answered':
      return onAnswered(choice, event, moment);
    case 'failed':
      return onFailed(choice, event, moment);
    case 'lost':
      return onLost(choice, event.server);
    case 'unwell':
      return onUnwell(choice, event.server, moment);
    default:
      return unreachable(event);
  }
}

/** When `time` has to be said; undefined: not before something else happens. */
export function wakeAtMs(choice: Choice): number | undefined {
  const { round, current, isWanted, restUntilMs, lookAgainMs } = choice;
  if (round !== undefined) return round.left.length > 0 ? round.nextMs : undefined;
  if (current === undefined) return isWanted ? restUntilMs : undefined;
  return lookAgainMs;
}

function same(choice: Choice): Step {
  return { choice, actions: [] };
}

function onWanted(choice: Choice, moment: Moment): Step {
  const { current, round, isWanted, restUntilMs, servers } = choice;
  if (!isWanted || round !== undefined) return same(choice);
  if (current !== undefined) return same({ ...choice, isWanted: false });
  const [first] = servers;
  if (first !== undefined && servers.length === 1) return take(choice, first, moment);
  return moment.nowMs < restUntilMs ? same(choice) : begin(choice, inTurn(choice), moment);
}

function onTime(choice: Choice, moment: Moment): Step {
  const { round, current, own, isReady, lookAgainMs = Infinity } = choice;
  const { nowMs } = moment;
  if (round !== undefined)
    return round.left.length > 0 && nowMs >= round.nextMs ? askNext(choice, moment) : same(choice);
  if (current === undefined) return onWanted(choice, moment);
  if (nowMs < lookAgainMs) return same(choice);
  if (!isReady) return begin(choice, inTurn(choice), moment);
  if (own === undefined || own === current) return same({ ...choice, lookAgainMs: undefined });
  return begin(choice, [own], moment, true);
}

function onServers(choice: Choice, list: ServerList, { nowMs, ...rest }: Moment): Step {
  const { servers, own } = list;
  const added = servers.filter((server) => !choice.servers.includes(server));
  const next: Choice = { ...choice, servers, own };
  const { round, current, isReady, lookAgainMs = Infinity } = next;
  if (round !== undefined && !round.isReturn)
    return same({ ...next, round: { ...round, left: [...round.left, ...added] } });
  if (added.length === 0) return same(next);
  if (current === undefined) return onWanted({ ...next, restUntilMs: nowMs }, { nowMs, ...rest });
  if (isReady && (own === undefined || own === current)) return same(next);
  return same({ ...next, lookAgainMs: Math.min(lookAgainMs, nowMs + newcomerMs) });
}

/** Who speaks with another may not know yet that it is gone: both are asked, and one that is well stays. */
function onHeard(choice: Choice, servers: readonly string[], moment: Moment): Step {
  const { current } = choice;
  if (current !== undefined && servers.includes(current)) return same(choice);
  const rested = { ...choice, restUntilMs: moment.nowMs };
  return current === undefined ? onWanted(rested, moment) : onUnwell(rested, current, moment);
}

function onAnswered(
  choice: Choice,
  { server, isReady }: { readonly server: string; readonly isReady: boolean },
  moment: Moment,
): Step {
  const { round } = choice;
  if (round?.open.includes(server) !== true) return same(choice);
  if (isReady) return take(choice, server, moment);
  const open = round.open.filter((one) => one !== server);
  const unready = server === choice.current ? server : (round.unready ?? server);
  return goOn({ ...choice, round: { ...round, open, unready } }, moment);
}

function onFailed(
  choice: Choice,
  { server, why }: { readonly server: string; readonly why: string },
  moment: Moment,
): Step {
  const { round, current } = choice;
  if (round?.open.includes(server) !== true) return same(choice);
  const open = round.open.filter((one) => one !== server);
  const failed = { ...choice, round: { ...round, open, whys: [...round.whys, why] } };
  if (server !== current) return goOn(failed, moment);
  const { choice: next, actions } = goOn({ ...failed, current: undefined }, moment);
  return { choice: next, actions: [{ type: 'drop' }, ...actions] };
}

function onLost(choice: Choice, server: string): Step {
  const { current, servers, failures } = choice;
  if (server !== current) return same(choice);
  const next = { ...choice, current: undefined, lost: server };
  if (servers.length > 1) return { choice: next, actions: [{ type: 'drop' }] };
  const actions: ChoiceAction[] = [{ type: 'drop' }, { type: 'search' }];
  return { choice: { ...next, failures: failures + 1 }, actions };
}

function onUnwell(choice: Choice, server: string, moment: Moment): Step {
  const { current, servers, round, restUntilMs } = choice;
  const isRest = moment.nowMs < restUntilMs;
  if (server !== current || servers.length === 1 || isRest) return same(choice);
  if (round !== undefined) return same(choice);
  return begin(choice, inTurn(choice), moment);
}

/** The one in use first, the one that failed last. */
function inTurn({ servers, current, lost }: Choice): readonly string[] {
  const rank = (server: string): number => (server === current ? 0 : server === lost ? 2 : 1);
  return servers.toSorted((a, b) => rank(a) - rank(b));
}

function begin(choice: Choice, left: readonly string[], moment: Moment, isReturn = false): Step {
  const { nowMs } = moment;
  const round = { isReturn, left, open: [], nextMs: nowMs, unready: undefined, whys: [] };
  return goOn({ ...choice, round }, moment);
}

function goOn(choice: Choice, moment: Moment): Step {
  const { round } = choice;
  assert(round, 'there is a round');
  if (round.left.length > 0) return askNext(choice, moment);
  return round.open.length > 0 ? same(choice) : end(choice, round, moment);
}

function askNext(choice: Choice, { nowMs }: Moment): Step {
  const { round } = choice;
  const [server, ...left] = round?.left ?? [];
  assert(round && server !== undefined, 'one is left');
  const open = [...round.open, server];
  const next = { ...choice, round: { ...round, left, open, nextMs: nowMs + staggerMs } };
  return { choice: next, actions: [{ type: 'ask', server }] };
}

/** A server that is ready, or one that nobody was asked for. */
function take(choice: Choice, server: string, { nowMs }: Moment): Step {
  const { current, own, round } = choice;
  const isBest = own === undefined || own === server;
  const next: Choice = {
    ...choice,
    current: server,
    isReady: true,
    round: undefined,
    failures: 0,
    restUntilMs: nowMs + restMs.well,
    lookAgainMs: isBest ? undefined : nowMs + returnMs,
    isWanted: false,
    lost: undefined,
  };
  if (server === current) return same(next);
  const isGentle = round?.isReturn === true;
  return { choice: next, actions: [{ type: 'use', server, isGentle }] };
}

/** All were asked, and none is ready. */
function end(choice: Choice, { isReturn, unready, whys }: Round, { nowMs, draw }: Moment): Step {
  const { current, failures, servers } = choice;
  const after = { ...choice, round: undefined };
  if (isReturn && current !== undefined) return same({ ...after, lookAgainMs: nowMs + returnMs });
  const pauseMs = Math.min(restMs.first * 2 ** failures, restMs.max) * (1 + draw);
  const again = { restUntilMs: nowMs + pauseMs, failures: Math.min(failures + 1, 16) };
  const server = current ?? unready;
  if (server === undefined) {
    const why = `none of the API servers ${servers.join(', ')} answers: ${[...new Set(whys)].join('; ')}`;
    const actions: ChoiceAction[] = [{ type: 'giveUp', why }, { type: 'search' }];
    return { choice: { ...after, ...again, isWanted: false }, actions };
  }
  const unwell = { current: server, isReady: false, isWanted: false };
  const next = { ...after, ...again, ...unwell, lookAgainMs: nowMs + pauseMs };
  const actions: ChoiceAction[] =
    server === current ? [] : [{ type: 'use', server, isGentle: false }];
  return { choice: next, actions: [...actions, { type: 'search' }] };
}
