// Brings one image here: from a machine of the cluster that has it, or from its registry when it is this
// machine's turn; else it says whom to wait for. What is decided stands in plan-fetch.ts and turns/.
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import {
  isRuntimeError,
  type ImageStatus,
  type PullProgress,
  type RegistryAuth,
  type Runtime,
} from '../../runtime/runtime.ts';
import { messageOf } from '../../error-message.ts';
import { fullName, type ImageName } from './image-name.ts';
import type { ImageOrigins } from './image-origins.ts';
import { BusyError, type ImagePeers, type PeerAnswer } from './image-peers.ts';
import { isSameKind, planFetch, type Source } from './plan-fetch.ts';
import { waitSentence } from './pull-words.ts';
import type { PullPhase } from './turns/answer.ts';
import { Patience, planTurn, movedBytes, type Rival } from './turns/plan-turn.ts';
import type { OwnPull, PullBoard } from './turns/pull-board.ts';

export interface ImageFetchDeps {
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Undefined: this machine is alone. */
  readonly peers: Pick<ImagePeers, 'ask' | 'askOne' | 'fetch' | 'nodeName'> | undefined;
  readonly origins: Pick<ImageOrigins, 'note'>;
  readonly board: PullBoard;
}

export interface FetchRequest {
  readonly name: string;
  readonly image: ImageName;
  readonly isAlways: boolean;
  /** Tried in this order; none: without. */
  readonly auths: readonly RegistryAuth[];
}

export interface Fetched {
  readonly image: ImageStatus;
  /** Undefined: from the registry. */
  readonly machine: string | undefined;
}

/** Another machine pulls it, or has it and hands it to others just now. */
interface Wait {
  readonly machine: string;
  readonly what: PullPhase | 'transfer';
}

export type Step =
  | { readonly kind: 'done'; readonly result: Fetched }
  | { readonly kind: 'wait'; readonly wait: Wait }
  | { readonly kind: 'again' };

export interface Teller {
  readonly progress: (progress: PullProgress) => void;
  readonly sentence: (sentence: string) => void;
}

type PeerSource = Extract<Source, { readonly kind: 'peer' }>;

/** Unpacking a large layer on a slow card is silent for a while, too. */
const silenceMaxMs = 300_000;
/** Two machines that ask at once know of each other by then. */
const askAgainMs = 50;
/** Who asks for so long stands still. */
const askingMaxMs = 5_000;
const pauseMs = { first: 100, last: 1_000 };

export class ImageFetch {
  readonly #deps: ImageFetchDeps;
  readonly #request: FetchRequest;
  readonly #tell: Teller;
  readonly #patience: Patience;
  #askingSinceMs: number | undefined;
  #digest: Promise<string | undefined> | undefined;

  constructor(deps: ImageFetchDeps, request: FetchRequest, tell: Teller) {
    this.#deps = deps;
    this.#request = request;
    this.#tell = tell;
    this.#patience = new Patience(deps.clock.monotonicMs());
  }

  /** One try; `wait` and `again` tell that there has to be another. Throws RuntimeError. */
  async step(): Promise<Step> {
    const { peers, board } = this.#deps;
    const { name, image, auths } = this.#request;
    if (peers === undefined || (await this.#hasOlder())) return this.#pull(undefined);
    // Others get nothing from here that was pulled with credentials.
    const own = auths.length === 0 ? board.announce(image) : undefined;
    try {
      for (;;) {
        const answers = await peers.ask(name);
        const fromPeer = await this.#fromPeers(answers, own);
        if (fromPeer !== undefined) return fromPeer;
        const turn =
          own === undefined
            ? { kind: 'pull' as const }
            : planTurn(fullName(image), peers.nodeName, await this.#rivals(answers));
        if (turn.kind === 'pull') return await this.#pull(own);
        if (turn.kind === 'wait')
          return { kind: 'wait', wait: { machine: turn.rival.machine, what: turn.rival.phase } };
        await delay(this.#deps.clock, askAgainMs);
      }
    } finally {
      own?.end();
    }
  }

  /** Resolves when another step may come further. */
  async wait({ machine, what }: Wait): Promise<void> {
    const { clock, peers } = this.#deps;
    const { name } = this.#request;
    for (let pause = pauseMs.first; ; pause = Math.min(pause * 2, pauseMs.last)) {
      await delay(clock, pause);
      // Who asks is done with it by now.
      if (what === 'asking') return;
      this.#askingSinceMs = undefined;
      const answer = await peers!.askOne(machine, name);
      const pull = answer?.pull?.phase === 'pulling' ? answer.pull : undefined;
      if ((what === 'pulling' ? pull : answer?.busy) === undefined) {
        if (answer?.offer === undefined) this.#patience.giveUp(machine);
        return;
      }
      const moved = what === 'pulling' ? movedBytes(pull?.progress) : answer?.busy?.sentBytes;
      if (!this.#patience.isWorth(keyOf(machine, what), moved ?? 0, clock.monotonicMs())) return;
      this.#tell.sentence(
        waitSentence(name, machine, what === 'pulling' ? pull?.progress : 'busy'),
      );
    }
  }

  /** What is here already makes most of a pull: the registry alone knows what is missing. */
  async #hasOlder(): Promise<boolean> {
    const { isAlways, name } = this.#request;
    return isAlways && (await this.#deps.runtime.imageStatus(name)) !== undefined;
  }

  async #rivals(answers: readonly PeerAnswer[]): Promise<readonly Rival[]> {
    const { runtime, clock } = this.#deps;
    const machine = await runtime.platform();
    const nowMs = clock.monotonicMs();
    if (this.#patience.isOver(nowMs)) return [];
    const rivals = answers.flatMap((answer): Rival[] =>
      answer.pull !== undefined && isSameKind(answer.pull, machine)
        ? [{ ...answer.pull, machine: answer.machine }]
        : [],
    );
    if (rivals.some(({ phase }) => phase === 'asking')) this.#askingSinceMs ??= nowMs;
    const mayAsk = nowMs - (this.#askingSinceMs ?? nowMs) < askingMaxMs;
    return rivals.filter((rival) =>
      rival.phase === 'asking'
        ? mayAsk
        : this.#patience.isWorth(
            keyOf(rival.machine, 'pulling'),
            movedBytes(rival.progress),
            nowMs,
          ),
    );
  }

  /** Undefined: none has it for this one. */
  async #fromPeers(
    answers: readonly PeerAnswer[],
    own: OwnPull | undefined,
  ): Promise<Step | undefined> {
    const { clock } = this.#deps;
    const patience = this.#patience;
    const having = answers.filter(
      ({ machine, offer }) => offer !== undefined && !patience.hasGivenUp(machine),
    );
    if (patience.isOver(clock.monotonicMs()) || having.length === 0) return undefined;
    const sources = await this.#plan(having);
    const busyOf = (source: PeerSource) =>
      having.find(({ machine }) => machine === source.peer.machine)?.busy;
    const free = sources.find((source) => busyOf(source) === undefined);
    if (free !== undefined) {
      // Others need not wait for what does not come from the registry.
      own?.end();
      return this.#fromPeer(free);
    }
    const busy = sources.find(({ peer: { machine } }) => {
      const { sentBytes = 0 } = having.find((entry) => entry.machine === machine)?.busy ?? {};
      return patience.isWorth(keyOf(machine, 'transfer'), sentBytes, clock.monotonicMs());
    });
    return busy && { kind: 'wait', wait: { machine: busy.peer.machine, what: 'transfer' } };
  }

  async #plan(having: readonly PeerAnswer[]): Promise<readonly PeerSource[]> {
    const { runtime } = this.#deps;
    const { name, image, isAlways, auths } = this.#request;
    const registryDigest = isAlways
      ? await (this.#digest ??= runtime.registryDigest(name, auths[0]).catch(() => undefined))
      : undefined;
    const offers = having.flatMap(({ machine, offer }) => (offer ? [{ machine, offer }] : []));
    const question = { image, isAlways, offers, registryDigest, machine: await runtime.platform() };
    return planFetch(question).filter((source) => source.kind === 'peer');
  }

  /** Leaves nothing of an image that did not come whole. Throws when no machine would do. */
  async #fromPeer({ peer, isConfirmed }: PeerSource): Promise<Step> {
    const { runtime, peers, logger, origins } = this.#deps;
    const { name } = this.#request;
    const { machine, offer } = peer;
    const isHere = (await runtime.imageStatus(offer.id)) !== undefined;
    let isAsking = false;
    try {
      if (!isHere)
        await this.#watched((signal, alive) =>
          peers!.fetch(peer, heard(this.#tell.progress, alive), signal),
        );
      isAsking = isConfirmed;
      // A pull that finds all of the image here fetches its manifest, no layer.
      if (isConfirmed) await this.#fromRegistry(this.#tell.progress);
      else await runtime.tagImage(offer.id, name);
      const image = await runtime.imageStatus(name);
      if (image === undefined) throw new Error(`image "${name}" is gone right after it came`);
      // What was here before may be private: no other machine's word makes it public.
      if (!isHere && image.id === offer.id) void origins.note(image.id, offer.origin);
      return { kind: 'done', result: { image, machine } };
    } catch (error) {
      if (isRuntimeError(error, 'unavailable')) throw error;
      if (!isHere) await this.#dropNameless(offer.id);
      // The next machine's bytes would need the same registry's word.
      if (isAsking) throw error;
      if (error instanceof BusyError) return { kind: 'wait', wait: { machine, what: 'transfer' } };
      this.#patience.giveUp(machine);
      const fields = { image: name, machine, error: messageOf(error) };
      logger.warn('Image not taken from a machine', fields);
      return { kind: 'again' };
    }
  }

  async #dropNameless(id: string): Promise<void> {
    const { runtime, logger } = this.#deps;
    try {
      const image = await runtime.imageStatus(id);
      if (image?.names.length === 0) await runtime.removeImage(image);
    } catch (error) {
      logger.debug('Image without a name stays', { id, error: messageOf(error) });
    }
  }

  async #pull(own: OwnPull | undefined): Promise<Step> {
    const { runtime, origins } = this.#deps;
    const { name, auths } = this.#request;
    if (own !== undefined) own.phase = 'pulling';
    await this.#fromRegistry((progress) => {
      if (own !== undefined) own.progress = progress;
      this.#tell.progress(progress);
    });
    const image = await runtime.imageStatus(name);
    if (image === undefined) throw new Error(`image "${name}" is gone right after its pull`);
    if (auths.length === 0) void origins.note(image.id, 'registry');
    return { kind: 'done', result: { image, machine: undefined } };
  }

  async #fromRegistry(report: Teller['progress']): Promise<void> {
    const { name, auths } = this.#request;
    const failures: unknown[] = [];
    for (const auth of auths.length === 0 ? [undefined] : auths)
      try {
        return await this.#watched((signal, alive) =>
          this.#deps.runtime.pullImage(name, { auth, signal, onProgress: heard(report, alive) }),
        );
      } catch (error) {
        if (isRuntimeError(error, 'unavailable')) throw error;
        failures.push(error);
      }
    const messages = [...new Set(failures.map(messageOf))];
    if (messages.length === 1) throw failures[0];
    throw new Error(`[${messages.join(', ')}]`);
  }

  /** Aborts what gives no sign of life. */
  async #watched(work: (signal: AbortSignal, alive: () => void) => Promise<void>): Promise<void> {
    const { clock } = this.#deps;
    const silence = new AbortController();
    let heardMs = clock.monotonicMs();
    const look = (): void => {
      const silentMs = clock.monotonicMs() - heardMs;
      if (silentMs >= silenceMaxMs) silence.abort();
      else timer = clock.timer(silenceMaxMs - silentMs, look);
    };
    let timer = clock.timer(silenceMaxMs, look);
    try {
      await work(silence.signal, () => (heardMs = clock.monotonicMs()));
    } catch (error) {
      if (!silence.signal.aborted) throw error;
      const why = `nothing came for ${silenceMaxMs / 60_000} minutes: is the line broken?`;
      throw new Error(why, { cause: error });
    } finally {
      timer.cancel();
    }
  }
}

/** One and the same machine may pull, and hand out what it has. */
function keyOf(machine: string, what: Wait['what']): string {
  return what === 'pulling' ? machine : `${machine}'s transfers`;
}

/** Each sign of life counts, also one that tells no amount. */
function heard(
  report: Teller['progress'],
  alive: () => void,
): (progress: PullProgress | undefined) => void {
  return (progress) => {
    alive();
    if (progress !== undefined) report(progress);
  };
}
