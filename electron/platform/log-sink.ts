// Where log lines go: a file per process (JSON, rotated by size) and stderr (short text).
// Writes are synchronous, so that the last line before a crash is in the file.
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import { jsonLogger, type Logger, type LogLevel } from '#kube/base/logger.ts';

export interface LogSinkOptions {
  readonly directory: string;
  /** File name without ending. */
  readonly name: string;
  readonly maxBytes?: number;
  /** How many rotated files are kept: name.1.log is the newest. */
  readonly keep?: number;
}

/** Appends lines to `<directory>/<name>.log`, rotating it past `maxBytes`. */
export class LogSink {
  readonly #path: string;
  readonly #maxBytes: number;
  readonly #keep: number;
  #descriptor: number;
  #sizeBytes: number;

  constructor(options: LogSinkOptions) {
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
    this.#path = path.join(options.directory, `${options.name}.log`);
    this.#maxBytes = options.maxBytes ?? 5 * 1024 * 1024;
    this.#keep = options.keep ?? 2;
    this.#descriptor = openSync(this.#path, 'a', 0o600);
    this.#sizeBytes = fstatSync(this.#descriptor).size;
  }

  write(line: string): void {
    const bytes = Buffer.byteLength(line);
    if (this.#sizeBytes > 0 && this.#sizeBytes + bytes > this.#maxBytes) this.#rotate();
    writeSync(this.#descriptor, line);
    this.#sizeBytes += bytes;
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  /** The old file is closed last: a number that was closed is soon another file's. */
  #rotate(): void {
    const old = this.#descriptor;
    const numbered = (n: number): string => this.#path.replace(/\.log$/, `.${n}.log`);
    rmSync(numbered(this.#keep), { force: true });
    for (let n = this.#keep - 1; n >= 1; n--) renameIfThere(numbered(n), numbered(n + 1));
    if (this.#keep > 0) renameIfThere(this.#path, numbered(1));
    this.#descriptor = openSync(this.#path, 'w', 0o600);
    this.#sizeBytes = 0;
    closeSync(old);
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

export interface ProcessLoggerOptions extends LogSinkOptions {
  readonly clock: Clock;
  readonly level?: LogLevel;
  /** Least important level that also goes to stderr. */
  readonly stderrLevel?: LogLevel;
}

/**
 * The logger of a whole process. A disk that can't take the line (full, gone) costs the file's
 * copy, said once on stderr; logging never ends the process.
 */
export function processLogger(options: ProcessLoggerOptions): Logger {
  const sink = new LogSink(options);
  const shown = new Set<string>(levelsUpTo(options.stderrLevel ?? 'warn'));
  let broken = false;
  return jsonLogger({
    clock: options.clock,
    level: options.level ?? 'info',
    write(line) {
      try {
        sink.write(line);
        broken = false;
      } catch (error) {
        if (!broken)
          process.stderr.write(`cannot write logs to ${options.directory}: ${String(error)}\n`);
        broken = true;
      }
      const record = JSON.parse(line) as Record<string, unknown>;
      if (shown.has(String(record['level']))) process.stderr.write(textLine(options.name, record));
    },
  });
}

function levelsUpTo(level: LogLevel): LogLevel[] {
  const levels: LogLevel[] = ['error', 'warn', 'info', 'debug'];
  return levels.slice(0, levels.indexOf(level) + 1);
}

/** `14:03:11 warn  agent: Image pull failed pod=default/web`. */
function textLine(name: string, record: Readonly<Record<string, unknown>>): string {
  const { time, level, message, ...fields } = record;
  const clock = String(time).slice(11, 19);
  const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${fieldText(value)}`);
  return `${clock} ${String(level).padEnd(5)} ${name}: ${String(message)}${pairs.join('')}\n`;
}

function fieldText(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value);
  const firstLine = value.split('\n', 1)[0] ?? '';
  return /\s/.test(firstLine) ? JSON.stringify(firstLine) : firstLine;
}
