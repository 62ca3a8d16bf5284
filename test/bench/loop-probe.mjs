// Loaded into the control plane by `api.ts` (NODE_OPTIONS=--import): whenever the file
// FLOTILLA_BENCH_STALLS is not there, it is written, with the event loop's longest stall since last time.
// No TypeScript: what strips types takes 25 MiB, in the process whose memory is measured. Threads, which
// load this too, may block: the one that syncs the disk does.
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

const file = process.env['FLOTILLA_BENCH_STALLS'] ?? '';
const resolutionMs = 2;

if (isMainThread && file !== '' && process.argv[1]?.includes('controlplane') === true) {
  const delays = monitorEventLoopDelay({ resolution: resolutionMs });
  delays.enable();
  setInterval(() => {
    if (existsSync(file)) return;
    const text = String(Math.max(0, delays.max / 1e6 - resolutionMs));
    delays.reset();
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  }, 100).unref();
}
