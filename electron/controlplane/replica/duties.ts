// What comes out of the protocol, made durable: one write at a time, then the promises that depend on
// it. Everything that comes while a write is under way is the next write: natural group commit,
// without a timer. A snapshot goes into the state before the log says so.
// Invariant: a promise leaves only when its write and all writes before it are durable.
// Source: raft/types.ts (Ready); etcd server/etcdserver/raft.go (the order).
import { assert } from '#kube/base/assert.ts';
import type { Entry, HardState, Message, Ready } from '../raft/types.ts';
import { LogFullError } from './log-errors.ts';
import type { LogStorage, ReceivedSnapshot } from './types.ts';

interface Write {
  writeId: number;
  hardState: HardState | undefined;
  entries: readonly Entry[];
  received: ReceivedSnapshot | undefined;
  readonly promises: Message[];
}

export interface DutiesDeps {
  readonly log: Pick<LogStorage, 'write'>;
  readonly send: (message: Message) => void;
  /** Puts a received snapshot in the state's place; called before the log says so. */
  readonly install: (received: ReceivedSnapshot, done: (error?: Error) => void) => void;
  /** Everything up to this write is durable. */
  readonly persisted: (writeId: number) => void;
  /** The disk is full: the same write is tried again when `retry` is called. */
  readonly onFull: (error: LogFullError, retry: () => void) => void;
  readonly onFatal: (error: Error) => void;
}

export class Duties {
  readonly #deps: DutiesDeps;
  #current: Write | undefined;
  #next: Write | undefined;
  /** Not written yet: the next write takes it along. */
  #hardState: HardState | undefined;
  #isEnded = false;
  #onIdle: ((unwritten: HardState | undefined) => void) | undefined;

  constructor(deps: DutiesDeps) {
    this.#deps = deps;
  }

  get isWriting(): boolean {
    return this.#current !== undefined;
  }

  /** `received`: the snapshot that `ready` wants installed. */
  take(ready: Ready, received: ReceivedSnapshot | undefined): void {
    for (const message of ready.messages) this.#deps.send(message);
    if (ready.hardState !== undefined) this.#hardState = ready.hardState;
    if (ready.writeId !== 0) this.#add(ready, received);
    this.#promise(ready.messagesAfterPersist);
  }

  #add(ready: Ready, received: ReceivedSnapshot | undefined): void {
    assert(
      ready.snapshot?.index === received?.mark.index,
      'a snapshot is asked for when it is held, and only then',
    );
    this.#next ??= {
      writeId: 0,
      hardState: undefined,
      entries: [],
      received: undefined,
      promises: [],
    };
    const next = this.#next;
    next.writeId = ready.writeId;
    if (received !== undefined) {
      next.received = received;
      next.entries = [];
    }
    next.entries = joined(next.entries, ready.entries);
  }

  /** Behind everything that was handed out before. */
  #promise(messages: readonly Message[]): void {
    if (messages.length === 0) return;
    const write = this.#next ?? this.#current;
    if (write !== undefined) for (const message of messages) write.promises.push(message);
    else for (const message of messages) this.#deps.send(message);
  }

  /** Starts the next write, unless one is under way. */
  begin(): void {
    const write = this.#next;
    if (this.#current !== undefined || write === undefined || this.#isEnded) return;
    this.#next = undefined;
    this.#current = write;
    write.hardState = this.#hardState;
    this.#hardState = undefined;
    if (write.received === undefined) return this.#write(write);
    this.#deps.install(write.received, (error) => {
      if (error === undefined) this.#write(write);
      else this.#deps.onFatal(error);
    });
  }

  #write(write: Write): void {
    const { hardState, entries, received } = write;
    const batch = { hardState, entries, snapshot: received?.mark, mustSync: true };
    this.#deps.log.write(batch, (error) => {
      if (error === undefined) this.#finish(write);
      else if (!(error instanceof LogFullError)) this.#deps.onFatal(error);
      else if (this.#isEnded) this.#finish(write);
      else this.#deps.onFull(error, () => this.#write(write));
    });
  }

  #finish(write: Write): void {
    this.#current = undefined;
    if (this.#isEnded) return this.#onIdle?.(this.#hardState);
    for (const message of write.promises) this.#deps.send(message);
    this.#deps.persisted(write.writeId);
  }

  /**
   * Begins nothing any more, and drops what has not begun: nobody was promised anything of it.
   * `done` is called when no write is under way, with what the log lacks of the hard state when
   * that may be written without the dropped entries: a commit that moved alone.
   */
  end(done: (unwritten: HardState | undefined) => void): void {
    this.#isEnded = true;
    if (this.#next !== undefined) this.#hardState = undefined;
    this.#next = undefined;
    if (this.#current === undefined) done(this.#hardState);
    else this.#onIdle = done;
  }
}

/** `entries` with what it holds from the first of `more` on replaced. */
function joined(entries: readonly Entry[], more: readonly Entry[]): readonly Entry[] {
  const [first] = entries;
  const [next] = more;
  if (first === undefined) return more;
  if (next === undefined) return entries;
  return [...entries.slice(0, Math.max(0, next.index - first.index)), ...more];
}
