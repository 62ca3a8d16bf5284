// A process in a Docker container that somebody talks to: one that was started for this, or the
// container's own. Docker lets a started process run on when its connection ends, so that is
// ended here: nobody is left who would.
import { readFile } from 'node:fs/promises';
import { Writable, type Duplex } from 'node:stream';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { DockerClient } from './docker-client.ts';
import { outputFrames } from './docker-frames.ts';
import {
  isRuntimeError,
  RuntimeError,
  type ContainerProcess,
  type OutputFrame,
  type ProcessOptions,
} from './runtime.ts';

export interface ProcessSystem {
  /** The control groups of a process of this machine; undefined when there is no such process. */
  cgroupsOf(pid: number): Promise<string | undefined>;
  /** Throws where it is not allowed. */
  kill(pid: number): void;
}

export const processSystem: ProcessSystem = {
  async cgroupsOf(pid) {
    try {
      return await readFile(`/proc/${pid}/cgroup`, 'utf8');
    } catch {
      return undefined;
    }
  },
  kill: (pid) => void process.kill(pid, 'SIGKILL'),
};

export interface DockerProcessDeps {
  readonly client: DockerClient;
  readonly clock: Clock;
  readonly system: ProcessSystem;
}

export async function startDockerProcess(
  deps: DockerProcessDeps,
  containerId: string,
  options: ProcessOptions,
): Promise<ContainerProcess> {
  const { client } = deps;
  const { id, socket } = await client.startExec(containerId, options);
  return {
    stdin: socket,
    output: outputOf(socket, options.tty),
    resize: ({ width, height }) => settled(client.resizeExec(id, width, height)),
    exitCode: () => exitCodeOf(deps, id),
    async close() {
      socket.destroy();
      await endExec(deps, containerId, id);
    },
  };
}

/** Throws a conflict when the container has ended. */
export async function attachDockerProcess(
  { client, clock }: DockerProcessDeps,
  containerId: string,
  options: Omit<ProcessOptions, 'command'>,
): Promise<ContainerProcess> {
  // How the output is framed is the container's affair, not the client's.
  const { Config: config } = await client.inspectContainer(containerId);
  const { stdin, stdout, stderr } = options;
  const socket = await client.attach(containerId, { stdin, stdout, stderr });
  await refuseIfEnded({ client, clock }, containerId, socket);
  const hasOneInput = config.StdinOnce && !config.Tty;
  return {
    stdin: hasOneInput ? socket : withoutEnd(socket),
    output: outputOf(socket, config.Tty),
    resize: ({ width, height }) => settled(client.resizeContainer(containerId, width, height)),
    exitCode: async () => 0,
    close: async () => void socket.destroy(),
  };
}

const lastWordsMs = 1000;

/** Docker attaches to what has ended, too, and then says nothing for ever. Who came in time hears the end. */
async function refuseIfEnded(
  { client, clock }: Pick<DockerProcessDeps, 'client' | 'clock'>,
  containerId: string,
  socket: Duplex,
): Promise<void> {
  const { State: state } = await client.inspectContainer(containerId);
  if (state.Running) return;
  const heard = await new Promise<boolean>((resolve) => {
    const timer = clock.timer(lastWordsMs, () => resolve(false));
    socket.once('readable', () => {
      timer.cancel();
      resolve(true);
    });
  });
  if (heard) return;
  socket.destroy();
  throw new RuntimeError('conflict', `Container ${containerId} is not running`);
}

/**
 * The end of one client's input is not the end of the container's, unless it says so: Docker would
 * take it as the end of the whole connection and keep the rest of the output.
 */
function withoutEnd(socket: Duplex): Writable {
  const input = new Writable({
    write(chunk: Buffer, _encoding, done) {
      if (socket.write(chunk)) done();
      else socket.once('drain', () => done());
    },
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
    autoDestroy: false,
  });
  input.on('error', () => undefined);
  socket.once('close', () => input.destroy());
  return input;
}

async function* outputOf(socket: Duplex, tty: boolean): AsyncIterable<OutputFrame> {
  socket.on('error', () => undefined);
  try {
    yield* outputFrames(socket, tty);
  } catch (error) {
    if (!socket.destroyed) throw error;
    const { code } = error as NodeJS.ErrnoException;
    // Let go of by ourselves, or the process ended while there was still input for it.
    if (code !== 'ERR_STREAM_PREMATURE_CLOSE' && code !== 'EPIPE' && code !== 'ECONNRESET')
      throw new RuntimeError('other', String(error), { cause: error });
  }
}

/** A terminal that has just gone needs no size. */
async function settled(call: Promise<void>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isRuntimeError(error, 'notFound') && !isRuntimeError(error, 'other')) throw error;
  }
}

const exitCodeAttempts = 250;
const exitCodePauseMs = 20;

/** The output ends a moment before Docker knows the exit code. */
export async function exitCodeOf(
  { client, clock }: Pick<DockerProcessDeps, 'client' | 'clock'>,
  execId: string,
): Promise<number> {
  for (let attempt = 0; attempt < exitCodeAttempts; attempt++) {
    const { ExitCode } = await client.inspectExec(execId);
    if (ExitCode !== null) return ExitCode;
    await delay(clock, exitCodePauseMs);
  }
  throw new RuntimeError('timeout', 'the engine did not report the exit code of the command');
}

const pidAttempts = 100;
const pidPauseMs = 50;

/**
 * Docker has no call for it. The pid is Docker's: it is ours only when it is a process of this
 * machine and of that container, which a Docker in a virtual machine's would not be.
 */
export async function endExec(
  { client, clock, system }: DockerProcessDeps,
  containerId: string,
  execId: string,
): Promise<void> {
  let pid = 0;
  try {
    // Docker answers before it has started the process: then it has no pid yet.
    for (let attempt = 0; pid === 0 && attempt < pidAttempts; attempt++) {
      if (attempt > 0) await delay(clock, pidPauseMs);
      const { ExitCode, Pid } = await client.inspectExec(execId);
      if (ExitCode !== null) return;
      pid = Pid;
    }
  } catch (error) {
    if (isRuntimeError(error, 'notFound')) return;
    throw error;
  }
  const cgroups = pid > 1 ? await system.cgroupsOf(pid) : undefined;
  if (cgroups?.includes(containerId) !== true) return;
  try {
    system.kill(pid);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return;
    const why = 'only root can end a command that was left running in a container';
    throw new RuntimeError('other', why, { cause: error });
  }
}
