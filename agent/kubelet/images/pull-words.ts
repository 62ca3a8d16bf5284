// Pure: what is told of a pull: how far it is, and how long it took.
import type { PullProgress } from '../../runtime/runtime.ts';

/** `Pulling image "nginx:1": 62 of 180 MB`; the app's page reads it back (renderer/state/pull.ts). */
export function progressSentence(
  name: string,
  { step, doneBytes, totalBytes }: PullProgress,
): string {
  const verb = step === 'downloading' ? 'Pulling' : 'Unpacking';
  const digits = (totalBytes ?? doneBytes) < 10_000_000 ? 1 : 0;
  const inMegabytes = (bytes: number): string => (bytes / 1_000_000).toFixed(digits);
  const of = totalBytes === undefined ? '' : ` of ${inMegabytes(totalBytes)}`;
  return `${verb} image "${name}": ${inMegabytes(doneBytes)}${of} MB`;
}

/** While another machine brings it: how far that one is, if it said. */
export function waitSentence(
  name: string,
  machine: string,
  what: PullProgress | 'busy' | undefined,
): string {
  if (what === 'busy')
    return `Image "${name}": waiting for machine ${machine}, which hands images to others just now`;
  if (what === undefined)
    return `Image "${name}": waiting for machine ${machine}, which pulls it for all`;
  return `${progressSentence(name, what)} on machine ${machine}`;
}

/** As Go prints durations, to the millisecond: `850ms`, `1.2s`, `2m3.45s`. */
export function goDuration(ms: number): string {
  const whole = Math.trunc(ms);
  if (whole < 1000) return whole === 0 ? '0s' : `${whole}ms`;
  const hours = Math.floor(whole / 3_600_000);
  const minutes = Math.floor(whole / 60_000) % 60;
  const seconds = `${(whole % 60_000) / 1000}s`;
  if (hours > 0) return `${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}
