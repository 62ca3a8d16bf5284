// Who runs, who waits and who is sent away: the deciding half of fair queuing. It holds tickets, not
// requests, and is told the time; `flow-control.ts` does the waiting.
// Every level has queues; a flow uses a hand of them. Of the queues in which somebody waits, that one
// is next whose requests have had least of the server's time (start-time fair queuing): one flow's
// thousand requests and another's single one take turns.
// Source: kubernetes apiserver pkg/util/flowcontrol/fairqueuing/queueset/queueset.go.
import type { PriorityLevelConfiguration } from '#kube/api/flowcontrol.ts';
import { divideSeats, maySit, type LevelSeats } from './seats.ts';
import { dealHand } from './shuffle-shard.ts';

/** A request as it is known here. Its identity counts. */
export interface Ticket {
  readonly level: string;
  /** Schema and distinguisher. */
  readonly flow: string;
  /** How many requests' worth of work it is. */
  readonly width: number;
}

export type Arrival = 'runs' | 'waits' | 'concurrency-limit' | 'queue-full';

export interface LevelCounts {
  readonly name: string;
  readonly inUse: number;
  readonly waiting: number;
  readonly nominal: number;
}

interface Queue {
  waiting: Ticket[];
  inUse: number;
  /** Virtual time (seat milliseconds) at which its next request begins. */
  nextStart: number;
}

interface Level {
  seats: LevelSeats;
  queues: Queue[];
  handSize: number;
  /** 0: nobody waits here. */
  queueLengthLimit: number;
  inUse: number;
  waiting: number;
  virtualTime: number;
  /** It has an object; without, it lasts until its last request ends. */
  isWanted: boolean;
}

interface Run {
  readonly queue: Queue | undefined;
  readonly startMs: number;
  readonly width: number;
}

/** What a request is taken to last until it has ended. */
const guessMs = 3;

export class FairQueues {
  readonly #levels = new Map<string, Level>();
  readonly #runs = new Map<Ticket, Run>();
  readonly #places = new Map<Ticket, { readonly level: Level; readonly queue: Queue }>();
  #capacity = 0;

  /** Shares `total` seats among `levels`. Those that wait keep waiting; gives those that may run. */
  configure(levels: readonly PriorityLevelConfiguration[], total: number, nowMs: number): Ticket[] {
    const seats = divideSeats(levels, total);
    this.#capacity = [...seats.values()].reduce((sum, { nominal }) => sum + nominal, 0);
    for (const level of this.#levels.values()) level.isWanted = false;
    for (const configuration of levels) {
      const { name } = configuration.metadata;
      const own = seats.get(name);
      if (own !== undefined) this.#configureLevel(configuration, own);
    }
    for (const [name, level] of this.#levels) this.#dropIfOver(name, level);
    return this.#startWaiting(nowMs);
  }

  /** `ticket` runs from now on, waits, or is refused by the reason given. */
  arrive(ticket: Ticket, nowMs: number): Arrival {
    const level = this.#levels.get(ticket.level);
    if (level === undefined) return 'concurrency-limit';
    if (level.seats.isExempt) {
      this.#run(ticket, level, { queue: undefined, startMs: nowMs, width: ticket.width });
      return 'runs';
    }
    const queue = chooseQueue(level, ticket.flow);
    // Nobody overtakes those who wait for the same.
    if (level.waiting === 0 && this.#maySit(level, widthOf(level, ticket))) {
      this.#begin(ticket, level, { queue, nowMs });
      return 'runs';
    }
    if (queue === undefined) return 'concurrency-limit';
    if (queue.waiting.length >= level.queueLengthLimit) return 'queue-full';
    this.#enqueue(ticket, level, queue);
    return 'waits';
  }

  /** It has run. Gives those that run from now on. */
  finish(ticket: Ticket, nowMs: number): Ticket[] {
    const run = this.#runs.get(ticket);
    const level = this.#levels.get(ticket.level);
    if (run === undefined || level === undefined) return [];
    this.#runs.delete(ticket);
    level.inUse -= run.width;
    if (run.queue !== undefined) {
      run.queue.inUse -= run.width;
      run.queue.nextStart += run.width * (nowMs - run.startMs - guessMs);
    }
    this.#dropIfOver(ticket.level, level);
    return this.#startWaiting(nowMs);
  }

  /** It waits no longer. */
  leave(ticket: Ticket): void {
    const place = this.#places.get(ticket);
    if (place === undefined) return;
    this.#places.delete(ticket);
    place.queue.waiting = place.queue.waiting.filter((one) => one !== ticket);
    place.level.waiting -= 1;
    this.#dropIfOver(ticket.level, place.level);
  }

  counts(): LevelCounts[] {
    return [...this.#levels].map(([name, { inUse, waiting, seats }]) => ({
      name,
      inUse,
      waiting,
      nominal: seats.nominal,
    }));
  }

  #configureLevel({ metadata, spec }: PriorityLevelConfiguration, seats: LevelSeats): void {
    const { queuing } = spec.limited?.limitResponse ?? {};
    const count = queuing === undefined ? 0 : (queuing.queues ?? 64);
    const settings = {
      seats,
      isWanted: true,
      handSize: queuing?.handSize ?? 8,
      queueLengthLimit: queuing === undefined ? 0 : (queuing.queueLengthLimit ?? 50),
    };
    const level = this.#levels.get(metadata.name);
    if (level === undefined) {
      const empty = { inUse: 0, waiting: 0, virtualTime: 0, queues: newQueues(count) };
      this.#levels.set(metadata.name, { ...settings, ...empty });
      return;
    }
    Object.assign(level, settings);
    if (level.queues.length === count) return;
    const waiting = level.queues.flatMap((queue) => queue.waiting);
    level.queues = newQueues(count);
    level.waiting = 0;
    // With no queues left they wait in one that nobody else finds.
    const last = newQueues(1);
    for (const ticket of waiting)
      this.#enqueue(ticket, level, chooseQueue(level, ticket.flow) ?? last[0]);
    if (count === 0 && waiting.length > 0) level.queues = last;
  }

  #dropIfOver(name: string, { isWanted, inUse, waiting }: Level): void {
    if (!isWanted && inUse === 0 && waiting === 0) this.#levels.delete(name);
  }

  #enqueue(ticket: Ticket, level: Level, queue: Queue | undefined): void {
    if (queue === undefined) return;
    queue.waiting.push(ticket);
    level.waiting += 1;
    this.#places.set(ticket, { level, queue });
  }

  #startWaiting(nowMs: number): Ticket[] {
    const started: Ticket[] = [];
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      const { level, queue, ticket } = next;
      this.leave(ticket);
      this.#begin(ticket, level, { queue, nowMs });
      started.push(ticket);
    }
    return started;
  }

  /** Levels that have not their own come before those that borrow; the emptiest first. */
  #next(): { level: Level; queue: Queue; ticket: Ticket } | undefined {
    const byUse = [...this.#levels.values()]
      .filter(({ waiting }) => waiting > 0)
      .toSorted((a, b) => useOf(a) - useOf(b));
    for (const level of byUse) {
      const queue = fairest(level);
      const ticket = queue?.waiting[0];
      if (queue === undefined || ticket === undefined) continue;
      if (this.#maySit(level, widthOf(level, ticket))) return { level, queue, ticket };
    }
    return undefined;
  }

  #maySit({ seats, inUse }: Level, width: number): boolean {
    let load = 0;
    for (const level of this.#levels.values())
      if (!level.seats.isExempt) load += Math.max(level.inUse, level.seats.guaranteed);
    return maySit(seats, inUse, { width, load, capacity: this.#capacity });
  }

  #begin(
    ticket: Ticket,
    level: Level,
    { queue, nowMs }: { readonly queue: Queue | undefined; readonly nowMs: number },
  ): void {
    const width = widthOf(level, ticket);
    if (queue !== undefined) {
      // A queue that was empty does not save up for later.
      queue.nextStart = Math.max(queue.nextStart, level.virtualTime);
      level.virtualTime = queue.nextStart;
      queue.nextStart += width * guessMs;
      queue.inUse += width;
    }
    this.#run(ticket, level, { queue, startMs: nowMs, width });
  }

  #run(ticket: Ticket, level: Level, run: Run): void {
    level.inUse += run.width;
    this.#runs.set(ticket, run);
  }
}

function newQueues(count: number): Queue[] {
  return Array.from({ length: count }, () => ({ waiting: [], inUse: 0, nextStart: 0 }));
}

/** A level with few seats would never have those of a large request. */
function widthOf({ seats }: Level, { width }: Ticket): number {
  return Math.min(width, Math.max(1, seats.nominal));
}

function useOf({ inUse, seats }: Level): number {
  return inUse / Math.max(1, seats.nominal);
}

/** Of the flow's hand, the one with least to do. */
function chooseQueue(level: Level, flow: string): Queue | undefined {
  let best: Queue | undefined;
  for (const index of dealHand(flow, level.queues.length, level.handSize)) {
    const queue = level.queues[index];
    if (queue === undefined) continue;
    if (best === undefined || workIn(queue) < workIn(best)) best = queue;
  }
  return best;
}

function workIn({ waiting, inUse }: Queue): number {
  return waiting.length + inUse;
}

function fairest({ queues, virtualTime }: Level): Queue | undefined {
  let best: Queue | undefined;
  for (const queue of queues) {
    if (queue.waiting.length === 0) continue;
    const start = Math.max(queue.nextStart, virtualTime);
    if (best === undefined || start < Math.max(best.nextStart, virtualTime)) best = queue;
  }
  return best;
}
