// The thread beside a member that a test kills: as the real one, with the test's failpoint.
import { serveStateJobs } from '../../electron/controlplane/store/state-jobs.ts';
import { armedFailpoint } from './member-failpoint.ts';

serveStateJobs(armedFailpoint());
