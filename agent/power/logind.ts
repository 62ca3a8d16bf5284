// systemd-logind's announcements, by its own programs: `busctl` listens to its signals, `systemd-inhibit`
// holds sleep and shutdown back for as long as its child runs. Both end with this process.
// Source: systemd, "Inhibitor Locks"; org.freedesktop.login1(5).
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import type { PowerEvent, PowerSystem } from './power-watch.ts';

const execute = promisify(execFile);
const manager = [
  'org.freedesktop.login1',
  '/org/freedesktop/login1',
  'org.freedesktop.login1.Manager',
];
/** logind's own, where it does not tell. */
const defaultHoldMs = 5_000;

/** Undefined: there is no systemd here, or this process may not listen to it. */
export function logindPower(isRoot: boolean): PowerSystem | undefined {
  if (!isRoot || !existsSync('/run/systemd/system')) return undefined;
  return { events: logindEvents, hold, holdMs };
}

async function* logindEvents(signal: AbortSignal): AsyncIterable<PowerEvent> {
  const match = `type='signal',sender='${manager[0]}',interface='${manager[2]}'`;
  const args = ['--system', '--json=short', `--match=${match}`, 'monitor'];
  const child = spawn('busctl', args, { stdio: ['ignore', 'pipe', 'ignore'], signal });
  const failed = new Promise<never>((_resolve, reject) => child.once('error', reject));
  failed.catch(() => {});
  for await (const line of createInterface({ input: child.stdout })) {
    const event = powerEvent(line);
    if (event !== undefined) yield event;
  }
  if (!signal.aborted) await Promise.race([failed, Promise.reject(new Error('busctl ended'))]);
}

/** Of a line of `busctl monitor`; undefined: it is about something else. */
export function powerEvent(line: string): PowerEvent | undefined {
  let message: { member?: unknown; payload?: { data?: readonly unknown[] } };
  try {
    message = JSON.parse(line) as typeof message;
  } catch {
    return undefined;
  }
  const isBegin = message.payload?.data?.[0] === true;
  if (message.member === 'PrepareForSleep') return isBegin ? 'sleep' : 'resume';
  if (message.member === 'PrepareForShutdown') return isBegin ? 'shutdown' : 'shutdown-cancelled';
  return undefined;
}

function hold(onLost: (why: string) => void): () => void {
  const why = 'Apps are told, and end in order';
  const options = ['--what=sleep:shutdown', '--mode=delay', '--who=Flotilla', `--why=${why}`];
  // cat ends with its input, and that with this process.
  return holdBy('systemd-inhibit', [...options, 'cat'], onLost).release;
}

const wordsMax = 500;

/** `onLost` is told why the program ended, or never began, unless it was let go. */
export function holdBy(
  program: string,
  args: readonly string[],
  onLost: (why: string) => void,
): { readonly child: ChildProcess; readonly release: () => void } {
  const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'pipe'] });
  let isLost = false;
  let words = '';
  const lost = (why: string): void => {
    if (!isLost) onLost(why);
    isLost = true;
  };
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-wordsMax);
  });
  child.on('error', (error) => lost(error.message));
  child.on('close', (code, signal) => {
    const end = code === null ? `by ${signal}` : `with code ${code}`;
    lost([`${program} ended ${end}`, words.trim()].filter((part) => part !== '').join(': '));
  });
  child.stdin.on('error', () => {});
  child.unref();
  (child.stderr as Partial<Pick<Socket, 'unref'>>).unref?.();
  const release = (): void => {
    isLost = true;
    child.stdin.end();
  };
  return { child, release };
}

async function holdMs(): Promise<number> {
  const args = ['--system', '--json=short', 'get-property', ...manager, 'InhibitDelayMaxUSec'];
  try {
    const { stdout } = await execute('busctl', args, { timeout: 1_000 });
    const { data } = JSON.parse(stdout) as { data?: unknown };
    return Number.isFinite(data) ? Number(data) / 1000 : defaultHoldMs;
  } catch {
    return defaultHoldMs;
  }
}
