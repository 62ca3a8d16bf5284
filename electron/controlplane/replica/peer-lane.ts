// One of the connections to one peer, ours to write to: made when there is something to send, or
// kept at all times: who has nothing to say, as a learner without a leader, must still be told that
// it was removed. It never blocks: what does not fit is lost.
// Invariants: a frame is handed to at most one connection; frames arrive in order or not at all.
import type { TLSSocket } from 'node:tls';
import { unreachable } from '#kube/base/assert.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import { FrameReader, PeerProtocolError } from './peer-bytes.ts';
import { frameTypes, pingFrame } from './peer-codec.ts';
import type { DialResult } from './peer-dial.ts';
import type { Refusal } from './peer-handshake.ts';

const backoffMs = { first: 50, most: 2000, refused: 30_000 };
/** While something is sent, the peer is asked this often whether it still reads. */
const pingEveryMs = 2000;

export interface LaneLimits {
  readonly messagesMax: number;
  readonly bytesMax: number;
  /** A connection on which nothing comes back for so long is dead. */
  readonly pongTimeoutMs: number;
}

export interface LaneDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: LaneLimits;
  /** Tries the address whose turn it is. */
  dial(attempt: number, done: (result: DialResult) => void): { cancel(): void };
  /** How many addresses there are: a pause grows only when all were tried. */
  addressCount(): number;
  /** Frames were lost, or the connection broke. */
  onLost(why: Error): void;
  /** It does not answer: whatever else is open to the same machine is dead as well. */
  onSilent(): void;
  onRefused(refusal: Refusal): void;
}

type State =
  | { readonly type: 'idle' }
  | { readonly type: 'dialing'; readonly attempt: { cancel(): void } }
  | { readonly type: 'open'; readonly socket: TLSSocket }
  /** Nothing is tried before the timer. */
  | { readonly type: 'waiting'; readonly timer: Timer }
  | { readonly type: 'closed' };

export class PeerLane {
  private readonly deps: LaneDeps;
  private state: State = { type: 'idle' };
  private queue: Buffer[] = [];
  private queuedBytes = 0;
  private isFlushDue = false;
  private isKept = false;
  /** Since the peer last answered. */
  private attempts = 0;
  /** Losses are told once until something is accepted again. */
  private isLossTold = false;
  private pong: Timer | undefined;
  private nextPingMs = 0;

  constructor(deps: LaneDeps) {
    this.deps = deps;
  }

  get isOpen(): boolean {
    return this.state.type === 'open';
  }

  send(frame: Buffer): void {
    const { state } = this;
    if (state.type === 'closed') return;
    if (state.type === 'waiting' || !this.hasRoomFor(frame)) return this.lose();
    this.isLossTold = false;
    this.queue.push(frame);
    this.queuedBytes += frame.length;
    if (state.type === 'idle') this.dial();
    if (state.type === 'open') this.flushSoon();
  }

  /** From now on it is made, and made again, also with nothing to send. */
  keep(): void {
    this.isKept = true;
    if (this.state.type === 'idle') this.dial();
  }

  /** The peer was heard of: it is worth trying at once. */
  wake(): void {
    this.attempts = 0;
    if (this.state.type !== 'waiting') return;
    this.state.timer.cancel();
    this.state = { type: 'idle' };
    if (this.isKept) this.dial();
  }

  /** Ends the connection as if it had broken. */
  break(why: Error): void {
    if (this.state.type !== 'open') return;
    this.endState();
    this.wait(why);
  }

  close(): void {
    this.endState();
    this.state = { type: 'closed' };
    this.forget();
  }

  private hasRoomFor(frame: Buffer): boolean {
    const { messagesMax, bytesMax } = this.deps.limits;
    if (this.queue.length >= messagesMax) return false;
    // One entry may be larger than all bounds, and must get through when nothing else waits.
    return this.queuedBytes + frame.length <= bytesMax || this.queue.length === 0;
  }

  private lose(): void {
    if (this.isLossTold) return;
    this.isLossTold = true;
    this.deps.onLost(new Error('messages were dropped: the peer is away or too slow'));
  }

  private forget(): void {
    this.queue = [];
    this.queuedBytes = 0;
  }

  private endState(): void {
    const { state } = this;
    switch (state.type) {
      case 'dialing':
        state.attempt.cancel();
        break;
      case 'open':
        this.pong?.cancel();
        this.pong = undefined;
        state.socket.destroy();
        break;
      case 'waiting':
        state.timer.cancel();
        break;
      case 'idle':
      case 'closed':
        break;
      default:
        unreachable(state);
    }
  }

  private dial(): void {
    const attempt = this.deps.dial(this.attempts, (result) => {
      switch (result.type) {
        case 'open':
          this.opened(result.socket, result.rest);
          break;
        case 'refused':
          this.wait(new Error(result.refusal.message), backoffMs.refused);
          this.deps.onRefused(result.refusal);
          break;
        case 'failed':
          this.wait(result.error);
          break;
        default:
          unreachable(result);
      }
    });
    this.state = { type: 'dialing', attempt };
  }

  private wait(why: Error, delayMs = this.pauseMs()): void {
    this.attempts += 1;
    this.forget();
    const timer = this.deps.clock.timer(delayMs, () => {
      this.state = { type: 'idle' };
      if (this.isKept) this.dial();
    });
    this.state = { type: 'waiting', timer };
    this.isLossTold = true;
    this.deps.onLost(why);
  }

  /** Doubles with each round through the addresses; half of it is random. */
  private pauseMs(): number {
    const round = Math.floor(this.attempts / Math.max(1, this.deps.addressCount()));
    const fullMs = Math.min(backoffMs.most, backoffMs.first * 2 ** Math.min(round, 16));
    return fullMs * (0.5 + this.deps.random.next() / 2);
  }

  private opened(socket: TLSSocket, rest: Buffer): void {
    this.state = { type: 'open', socket };
    const frames = new FrameReader((type) => this.heard(type), 1024);
    // What a connection tells after it was given up concerns nobody.
    const ifCurrent = (work: () => void): void => {
      if (this.state.type === 'open' && this.state.socket === socket) work();
    };
    const read = (chunk: Buffer): void =>
      ifCurrent(() => {
        try {
          frames.push(chunk);
        } catch (error) {
          if (!(error instanceof PeerProtocolError)) throw error;
          this.break(error);
        }
      });
    socket.on('drain', () => ifCurrent(() => this.flush()));
    socket.on('error', (error) => ifCurrent(() => this.break(error)));
    socket.on('close', () => ifCurrent(() => this.break(new Error('the peer hung up'))));
    socket.on('data', read);
    this.nextPingMs = 0;
    read(rest);
    this.flush();
  }

  /** Only pongs come back. */
  private heard(type: number): void {
    if (type !== frameTypes.pong) throw new PeerProtocolError(`a frame of type ${type} in reply`);
    this.pong?.cancel();
    this.pong = undefined;
    this.attempts = 0;
  }

  /** Everything that is sent in one turn leaves in one write. */
  private flushSoon(): void {
    if (this.isFlushDue) return;
    this.isFlushDue = true;
    queueMicrotask(() => {
      this.isFlushDue = false;
      this.flush();
    });
  }

  private flush(): void {
    const { state, queue } = this;
    if (state.type !== 'open' || queue.length === 0 || state.socket.writableNeedDrain) return;
    const { socket } = state;
    socket.cork();
    this.askForLife(socket);
    let sent = 0;
    let hasRoom = true;
    while (hasRoom && sent < queue.length) {
      const frame = queue[sent] as Buffer;
      hasRoom = socket.write(frame);
      this.queuedBytes -= frame.length;
      sent += 1;
    }
    if (sent === queue.length) this.queue = [];
    else queue.splice(0, sent);
    socket.uncork();
  }

  private askForLife(socket: TLSSocket): void {
    const { clock, limits } = this.deps;
    if (this.pong !== undefined || clock.monotonicMs() < this.nextPingMs) return;
    this.nextPingMs = clock.monotonicMs() + pingEveryMs;
    socket.write(pingFrame);
    this.pong = clock.timer(limits.pongTimeoutMs, () => {
      this.break(new Error(`no sign of life within ${limits.pongTimeoutMs / 1000} s`));
      this.deps.onSilent();
    });
  }
}
