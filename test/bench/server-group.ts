// What a benchmark needs of servers, ours or the peer's: types only.
export interface Server {
  readonly pid: number;
  /** `127.0.0.1:port` of etcd's API. */
  readonly endpoint: string;
  /** Ends it as a power cut would. */
  kill(): Promise<void>;
  /** After `kill`, with the data it had. */
  restart(): Promise<unknown>;
}

export interface Group {
  readonly servers: readonly Server[];
  /** The one that leads now; rejects while none does. */
  leader(): Promise<Server>;
  stop(): Promise<void>;
}
