// The program of state-thread.ts' thread. A bundle of its own beside the control plane's
// (electron/build.ts).
import { serveStateJobs } from './state-jobs.ts';

serveStateJobs();
