// A process of the fake runtime that somebody talks to: a function with an input, an output and an
// exit code.
import { PassThrough } from 'node:stream';
import type { ContainerProcess, OutputFrame, ProcessOptions } from './runtime.ts';

export interface ProcessIo {
  readonly command: readonly string[];
  readonly stdin: AsyncIterable<Uint8Array>;
  write(stream: OutputFrame['stream'], bytes: Uint8Array | string): void;
}

/** Resolves with the exit code. */
export type ProcessProgram = (io: ProcessIo) => Promise<number>;

export async function echo({ stdin, write }: ProcessIo): Promise<number> {
  for await (const bytes of stdin) write('stdout', bytes);
  return 0;
}

/** `calls` gets what is done to it from outside: `resize 80x24`, `close`. */
export function fakeProcess(
  options: ProcessOptions,
  calls: string[],
  program: ProcessProgram,
): ContainerProcess {
  const stdin = new PassThrough();
  if (!options.stdin) stdin.end();
  const output = new PassThrough({ objectMode: true });
  stdin.on('error', () => undefined);
  output.on('error', () => undefined);
  const exit = program({
    command: options.command,
    stdin,
    write: (stream, bytes) =>
      void output.write({ stream: options.tty ? 'stdout' : stream, bytes: Buffer.from(bytes) }),
  });
  void exit.then(
    () => output.end(),
    (error: Error) => output.destroy(error),
  );
  return {
    stdin,
    output,
    resize: async ({ width, height }) => void calls.push(`resize ${width}x${height}`),
    exitCode: () => exit,
    async close() {
      calls.push('close process');
      stdin.destroy();
      output.end();
    },
  };
}
