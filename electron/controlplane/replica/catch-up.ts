// Snapshots for members that lack more than the log still holds: sends the state as it is, one copy
// at a time to each peer; takes one in at a time, and keeps it until the protocol has judged it and
// it is installed, or thrown away.
// Only what comes from the leader of the present term counts: what an earlier one sent is not needed.
import { assert } from '#kube/base/assert.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { MemberId, Ready, SnapshotMark } from '../raft/types.ts';
import {
  ReplicaUnavailableError,
  type PeerTransport,
  type ReceivedSnapshot,
  type StateMachine,
} from './types.ts';

export interface CatchUpDeps {
  readonly stateMachine: Pick<StateMachine<unknown>, 'snapshot' | 'receive' | 'install'>;
  readonly transport: Pick<PeerTransport, 'sendSnapshot'>;
  readonly logger: Logger;
  readonly leader: () => MemberId;
  /** A snapshot is held: the protocol is to judge it (`judged`). */
  readonly onReceived: (from: MemberId, mark: SnapshotMark) => void;
  readonly onSent: (peer: MemberId, isOk: boolean) => void;
}

type Taking =
  | { readonly type: 'receiving' }
  | { readonly type: 'judging' | 'installing'; readonly received: ReceivedSnapshot };

export class CatchUp {
  readonly #deps: CatchUpDeps;
  readonly #sending = new Set<MemberId>();
  #taking: Taking | undefined;
  #isEnded = false;

  constructor(deps: CatchUpDeps) {
    this.#deps = deps;
  }

  /** The state must not be touched now, nor be asked for a copy. */
  get isInstalling(): boolean {
    return this.#taking?.type === 'installing';
  }

  async send(peer: MemberId): Promise<void> {
    const { stateMachine, transport, logger, onSent } = this.#deps;
    assert(!this.#sending.has(peer), `one snapshot at a time is sent to member ${peer}`);
    this.#sending.add(peer);
    let isOk = false;
    try {
      const source = await stateMachine.snapshot();
      try {
        if (!this.#isEnded) await transport.sendSnapshot(peer, source);
        isOk = true;
      } finally {
        source.close();
      }
    } catch (error) {
      if (!this.#isEnded) logger.warn('Could not send a snapshot', { peer, error });
    }
    this.#sending.delete(peer);
    onSent(peer, isOk);
  }

  isSendingTo(peer: MemberId): boolean {
    return this.#sending.has(peer);
  }

  /** Resolves when it is held. Throws when it can't be taken in, or is not wanted. */
  async receive(
    from: MemberId,
    mark: SnapshotMark,
    chunks: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    if (this.#taking !== undefined || this.#isEnded)
      throw new ReplicaUnavailableError('Another snapshot is being taken in');
    this.#taking = { type: 'receiving' };
    let received: ReceivedSnapshot | undefined;
    try {
      received = await this.#deps.stateMachine.receive(mark, chunks);
    } finally {
      this.#taking = undefined;
    }
    if (this.#isEnded || this.#deps.leader() !== from) {
      received.discard();
      throw new ReplicaUnavailableError('The snapshot came too late: the leader is another now');
    }
    this.#taking = { type: 'judging', received };
    this.#deps.onReceived(from, mark);
  }

  /** The leader it came from did not lead any more when its turn came. */
  refuse(): void {
    if (this.#taking?.type === 'judging') this.#taking.received.discard();
    this.#taking = undefined;
  }

  /** What the protocol made of it: the snapshot to install, if any. */
  judged(ready: Ready): ReceivedSnapshot | undefined {
    if (ready.snapshot === undefined) {
      this.refuse();
      return undefined;
    }
    assert(this.#taking?.type === 'judging', 'a snapshot is judged when it is held');
    const { received } = this.#taking;
    this.#taking = { type: 'installing', received };
    return received;
  }

  install(received: ReceivedSnapshot, done: (error?: Error) => void): void {
    this.#deps.stateMachine.install(received, (error) => {
      this.#taking = undefined;
      done(error);
    });
  }

  /** Answers nothing any more. */
  end(): void {
    this.#isEnded = true;
    if (this.#taking?.type === 'judging') this.refuse();
  }
}
