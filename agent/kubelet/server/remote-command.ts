// Brings a client and a process together: input, output at the reader's pace, sizes of the
// terminal, and at the end how it ended. Whoever goes away first takes the other along.
// Source: kubernetes kubelet pkg/cri/streaming/remotecommand/{exec,attach}.go.
import type { Readable, Writable } from 'node:stream';
import type { Status } from '#kube/api/meta.ts';
import { internalError } from '#kube/machinery/status.ts';
import { exitStatus, type RemoteStreams } from '#platform/streams/remote-streams.ts';
import type { ContainerProcess } from '../../runtime/runtime.ts';
import { messageOf } from '../../error-message.ts';

export interface RemoteCommand {
  readonly start: () => Promise<ContainerProcess>;
  /** Empty: attached to the container's own process. */
  readonly command: readonly string[];
  readonly streams: RemoteStreams;
}

/** Resolves when both sides are done with. Throws when what was started could not be ended. */
export async function runRemoteCommand(remote: RemoteCommand): Promise<void> {
  const { streams, command } = remote;
  let process: ContainerProcess;
  try {
    process = await remote.start();
  } catch (error) {
    await streams.finish(failure(command, error));
    return;
  }
  const letGo = (): void => {
    // Wakes whoever waits for output; the process itself is ended below.
    process.stdin.destroy();
  };
  streams.signal.addEventListener('abort', letGo);
  if (streams.signal.aborted) letGo();
  try {
    await streams.finish(await talk(process, remote));
  } finally {
    streams.signal.removeEventListener('abort', letGo);
    await process.close();
  }
}

async function talk(process: ContainerProcess, remote: RemoteCommand): Promise<Status> {
  const { streams, command } = remote;
  try {
    // A size that could not be set is not worth the session.
    streams.sizes.listen((size) => void process.resize(size).catch(() => undefined));
    if (streams.stdin !== undefined) feed(streams.stdin, process.stdin);
    for await (const { stream, bytes } of process.output) {
      if (streams.signal.aborted) break;
      const target = stream === 'stdout' ? streams.stdout : streams.stderr;
      if (target !== undefined) await write(target, bytes);
    }
    if (streams.signal.aborted) return failure(command, new Error('the client went away'));
    return exitStatus(await process.exitCode(), command);
  } catch (error) {
    return failure(command, error);
  }
}

/** The process may end, or close its input, while there is more for it: that is no failure. */
function feed(source: Readable, target: Writable): void {
  function stop(): void {
    source.unpipe(target);
    source.resume();
  }
  target.on('error', stop);
  target.once('close', stop);
  source.pipe(target);
}

function failure(command: readonly string[], error: unknown): Status {
  const doing = command.length > 0 ? 'executing command in' : 'attaching to';
  return internalError(`error ${doing} container: ${messageOf(error)}`).status;
}

/** Resolves when the bytes are on their way; a client that is gone is noticed by its signal. */
function write(target: Writable, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    if (target.destroyed || target.writableEnded) return resolve();
    target.write(bytes, () => resolve());
  });
}
