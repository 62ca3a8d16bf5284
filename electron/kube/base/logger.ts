// Structured logging: a constant message plus fields, one JSON line each.
// Levels: error (a person must act), warn, info (state changes), debug (decisions).
// Never pass secrets, tokens or bodies of Secrets.
import { type Clock } from './clock.ts';

export type LogLevel = 'error' | 'warn' | 'info' | 'debug';
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to every line. */
  with(fields: LogFields): Logger;
}

const order: Readonly<Record<LogLevel, number>> = { error: 0, warn: 1, info: 2, debug: 3 };

export interface JsonLoggerOptions {
  readonly clock: Clock;
  readonly write: (line: string) => void;
  readonly level?: LogLevel;
  readonly fields?: LogFields;
}

export function jsonLogger(options: JsonLoggerOptions): Logger {
  const { clock, write, level = 'info', fields = {} } = options;
  function log(at: LogLevel, message: string, more: LogFields = {}): void {
    if (order[at] > order[level]) return;
    const time = new Date(clock.now()).toISOString();
    write(`${JSON.stringify({ time, level: at, ...fields, ...more, message }, errorsAsText)}\n`);
  }
  return {
    error: (message, more) => log('error', message, more),
    warn: (message, more) => log('warn', message, more),
    info: (message, more) => log('info', message, more),
    debug: (message, more) => log('debug', message, more),
    with: (more) => jsonLogger({ ...options, fields: { ...fields, ...more } }),
  };
}

function errorsAsText(_key: string, value: unknown): unknown {
  if (!(value instanceof Error)) return value;
  const text = value.stack ?? value.message;
  return value.cause === undefined ? text : { error: text, cause: value.cause };
}

/** Swallows everything: for tests that don't look at logs. */
export const silentLogger: Logger = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  with: () => silentLogger,
};
