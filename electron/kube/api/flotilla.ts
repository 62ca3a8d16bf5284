// What Flotilla answers beside the Kubernetes API, below /flotilla. Types only.

export interface MemberReport {
  readonly id: number;
  readonly name: string;
  /** A learner has a copy and no vote. */
  readonly role: 'voter' | 'learner';
  readonly addresses: readonly string[];
  readonly isLeader: boolean;
  /** The one that is asked. */
  readonly isSelf: boolean;
  /** Only the leader hears of all: elsewhere it may be `unknown`. */
  readonly health: 'running' | 'unreachable' | 'unknown';
  /** Entries of the log that it has not confirmed; null: not known here. */
  readonly lag: number | null;
}

/** `GET /flotilla/recovery`: what it would come to if this machine went on alone. */
export interface RecoveryReport {
  /** Of which `POST /flotilla/recovery` with `{"confirm": …}` takes the id. */
  readonly clusterId: string;
  /** Why it is refused; null: it may be asked for. */
  readonly refusal: string | null;
  /** The last entries here, of which this machine does not know whether a majority had them. */
  readonly unconfirmedEntries: number;
  /** Whether what was confirmed without it is likely to be here, too: it had a vote. */
  readonly isVoter: boolean;
  readonly others: readonly {
    readonly name: string;
    readonly role: 'voter' | 'learner';
    /** null: not since this control plane started. */
    readonly heardSecondsAgo: number | null;
  }[];
}

/** `GET /flotilla/members`; with `?watch=true` one a line, each when a person would see a difference. */
export interface MembersReport {
  readonly clusterId: string;
  readonly term: number;
  readonly revision: number;
  readonly members: readonly MemberReport[];
  /** Why nothing can be answered; null: all is well. */
  readonly problem: string | null;
}
