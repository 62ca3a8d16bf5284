// A child process's line to whoever started it: Node's IPC channel, or Electron's parentPort.
// Messages are small JSON objects with a `type`. When the parent is gone, the child stops.

export interface ChildMessage {
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface ParentChannel {
  /** Does nothing when nobody started us (run by hand). */
  post(message: ChildMessage): void;
  /** Calls `listener` once: on the parent's `stop`, its death, SIGTERM or SIGINT. */
  onStop(listener: (why: string) => void): void;
}

interface ElectronParentPort {
  postMessage(message: unknown): void;
  on(event: 'message', listener: (event: { data: unknown }) => void): void;
}

export function parentChannel(): ParentChannel {
  const { parentPort } = process as { parentPort?: ElectronParentPort };
  return {
    post(message) {
      if (parentPort !== undefined) parentPort.postMessage(message);
      else if (process.connected) process.send?.(message);
    },
    onStop(listener) {
      let stopping = false;
      function stop(why: string): void {
        if (stopping) return;
        stopping = true;
        listener(why);
      }
      parentPort?.on('message', ({ data }) => {
        if (isStop(data)) stop('asked by parent');
      });
      process.on('message', (message) => {
        if (isStop(message)) stop('asked by parent');
      });
      process.once('disconnect', () => stop('parent is gone'));
      process.once('SIGTERM', () => stop('SIGTERM'));
      process.once('SIGINT', () => stop('SIGINT'));
    },
  };
}

function isStop(message: unknown): boolean {
  return (
    typeof message === 'object' && message !== null && (message as ChildMessage).type === 'stop'
  );
}

/** Exit codes that tell a supervisor what a restart would bring. */
export const exitCodes = {
  /** Trying again can't help (data directory in use, corrupt database, bad flag): the person must act. */
  cannotRun: 78,
} as const;
