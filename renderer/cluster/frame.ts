// Work for the next animation frame, and a clock for the eye. Both rest while the page is hidden:
// a hidden page draws no frames, and its clock stands.
import { type ShallowRef, shallowRef } from 'vue';

/** Answers a function that calls it off. */
export function nextFrame(callback: () => void): () => void {
  const handle = requestAnimationFrame(callback);
  return () => cancelAnimationFrame(handle);
}

const tickMs = 1000;
const now = shallowRef(Date.now());
let timer: ReturnType<typeof setInterval> | undefined;

/** The present to the second, shared by everything that shows `12 s ago`. */
export function useNow(): ShallowRef<number> {
  if (timer === undefined && typeof document !== 'undefined') {
    start();
    document.addEventListener('visibilitychange', () => (document.hidden ? stop() : start()));
  }
  return now;
}

function start(): void {
  if (document.hidden) return;
  now.value = Date.now();
  timer ??= setInterval(() => (now.value = Date.now()), tickMs);
}

function stop(): void {
  clearInterval(timer);
  timer = undefined;
}
