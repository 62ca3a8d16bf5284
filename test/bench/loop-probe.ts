// Loaded into the control plane by `api.ts` (NODE_OPTIONS=--import): writes the event loop's longest
// stall so far to the file FLOTILLA_BENCH_STALLS, which ends a measurement by removing it.
import { existsSync, writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

const file = process.env['FLOTILLA_BENCH_STALLS'] ?? '';
const resolutionMs = 2;

if (file !== '' && process.argv[1]?.includes('controlplane') === true) {
  const delays = monitorEventLoopDelay({ resolution: resolutionMs });
  delays.enable();
  let told = '';
  setInterval(() => {
    const isRemoved = !existsSync(file);
    if (isRemoved) delays.reset();
    const text = String(Math.max(0, delays.max / 1e6 - resolutionMs));
    // Each write costs what it measures.
    if (isRemoved || text !== told) writeFileSync(file, text);
    told = text;
  }, 100).unref();
}
