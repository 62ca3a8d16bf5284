// Pure: which nodes' agents are told where this API server is, and when. All are once when it starts and when its address
// is another; one that no more is heard of is again and again, ever more seldom, because it may know only addresses of before.
// While all are well nobody is called, and there is no timer.
import { unreachable } from '#kube/base/assert.ts';

interface NodeCall {
  /** Nothing is heard of it: it may be off, or not know where to speak. */
  readonly isLost: boolean;
  /** Undefined: there is nothing to tell it. */
  readonly dueMs: number | undefined;
  readonly isOpen: boolean;
  /** While it is told, there is something new to tell. */
  readonly isStale: boolean;
  /** Calls in a row. */
  readonly attempts: number;
}

export type NodeCalls = ReadonlyMap<string, NodeCall>;

export type CallsEvent =
  | { readonly type: 'node'; readonly name: string; readonly isLost: boolean }
  | { readonly type: 'gone'; readonly name: string }
  /** It starts, or is reached elsewhere from now on. */
  | { readonly type: 'place' }
  | { readonly type: 'time' }
  /** What came of a call. */
  | { readonly type: 'called'; readonly name: string; readonly isTold: boolean };

export interface CallsStep {
  readonly calls: NodeCalls;
  /** Nodes to call now. */
  readonly begin: readonly string[];
}

export const openMax = 4;
const againMs = { first: 1_000, max: 60_000 };
/** Of one that should be well and is not reached: by then it is known whether it is lost. */
const attemptsMax = 7;

const fresh = { dueMs: undefined, isOpen: false, isStale: false, attempts: 0 } as const;

export function step(calls: NodeCalls, event: CallsEvent, nowMs: number): CallsStep {
  const next = new Map(calls);
  switch (event.type) {
    case 'node':
      next.set(event.name, seen(calls.get(event.name), event.isLost, nowMs));
      break;
    case 'gone':
      next.delete(event.name);
      break;
    case 'place':
      for (const [name, call] of calls) next.set(name, anew(call, nowMs));
      break;
    case 'time':
      break;
    case 'called': {
      const call = calls.get(event.name);
      if (call?.isOpen === true) next.set(event.name, called(call, event.isTold, nowMs));
      break;
    }
    default:
      return unreachable(event);
  }
  return begun(next, nowMs);
}

/** When `time` has to be said; undefined: not before something else happens. */
export function wakeAtMs(calls: NodeCalls): number | undefined {
  const all = [...calls.values()];
  // Who waits for a place begins when a call ends.
  if (all.filter(({ isOpen }) => isOpen).length >= openMax) return undefined;
  const due = all.flatMap(({ isOpen, dueMs }) => (isOpen || dueMs === undefined ? [] : [dueMs]));
  return due.length === 0 ? undefined : Math.min(...due);
}

function seen(call: NodeCall | undefined, isLost: boolean, nowMs: number): NodeCall {
  if (call === undefined) return { ...fresh, isLost, dueMs: isLost ? nowMs : undefined };
  if (call.isLost === isLost) return call;
  if (isLost) return anew({ ...call, isLost }, nowMs);
  // It speaks with an API server: what it has to know it hears there.
  return { ...call, isLost, dueMs: undefined, isStale: false, attempts: 0 };
}

function anew(call: NodeCall, nowMs: number): NodeCall {
  return call.isOpen
    ? { ...call, isStale: true }
    : { ...call, dueMs: nowMs, attempts: 0, isStale: false };
}

function called(call: NodeCall, isTold: boolean, nowMs: number): NodeCall {
  const closed = { ...call, isOpen: false };
  if (call.isStale) return anew(closed, nowMs);
  const attempts = call.attempts + 1;
  const isOver = !call.isLost && (isTold || attempts >= attemptsMax);
  if (isOver) return { ...closed, dueMs: undefined, attempts: 0 };
  const waitMs = Math.min(againMs.first * 2 ** (attempts - 1), againMs.max);
  return { ...closed, dueMs: nowMs + waitMs, attempts: Math.min(attempts, 16) };
}

/** As many as may be open at once, the longest due first. */
function begun(calls: Map<string, NodeCall>, nowMs: number): CallsStep {
  const open = [...calls.values()].filter(({ isOpen }) => isOpen).length;
  const due = [...calls].filter(([, { isOpen, dueMs }]) => !isOpen && (dueMs ?? Infinity) <= nowMs);
  const first = due.toSorted(([, a], [, b]) => (a.dueMs ?? 0) - (b.dueMs ?? 0));
  const begin = first.slice(0, Math.max(0, openMax - open));
  for (const [name, call] of begin) calls.set(name, { ...call, isOpen: true, dueMs: undefined });
  return { calls, begin: begin.map(([name]) => name) };
}
