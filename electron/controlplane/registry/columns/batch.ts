// Columns of jobs and cron jobs.
// Source: kubernetes pkg/printers/internalversion/printers.go printJob, printCronJob.
import type { CronJob, Job } from '#kube/api/batch.ts';
import { isConditionTrue } from '#kube/machinery/conditions.ts';
import { formatLabelSelector } from '#kube/machinery/selector.ts';
import type { Column } from '../resource.ts';
import { age, humanDuration } from './age.ts';
import {
  ageColumn,
  containerColumns,
  templateContainers,
  count,
  nameColumn,
  orNone,
  selectorColumn,
  textColumn,
} from './cells.ts';

export const jobColumns: readonly Column<Job>[] = [
  nameColumn,
  textColumn('Status', 'State of the job.', status),
  textColumn('Completions', 'Pods that succeeded, of those wanted.', completions),
  textColumn('Duration', 'Time from its start to its end, or until now.', duration),
  ageColumn,
  ...containerColumns<Job>((job) => templateContainers(job.spec.template)),
  selectorColumn((job) => orNone(formatLabelSelector(job.spec.selector))),
];

export const cronJobColumns: readonly Column<CronJob>[] = [
  nameColumn,
  textColumn('Schedule', 'When jobs are made, in Cron form.', (cronJob) => cronJob.spec.schedule),
  textColumn('Timezone', "The schedule's time zone.", (cronJob) => orNone(cronJob.spec.timeZone)),
  {
    name: 'Suspend',
    type: 'boolean',
    description: 'Whether no more jobs are made.',
    cell: ({ spec }) => (spec.suspend === undefined ? '<unset>' : spec.suspend ? 'True' : 'False'),
  },
  count('Active', 'Jobs that run.', (cronJob) => cronJob.status?.active?.length),
  textColumn('Last Schedule', 'Time since a job was last made.', ({ status: state }, nowMs) =>
    state?.lastScheduleTime === undefined ? '<none>' : age(state.lastScheduleTime, nowMs),
  ),
  ageColumn,
  ...containerColumns<CronJob>(({ spec }) => templateContainers(spec.jobTemplate.spec?.template)),
  selectorColumn(({ spec }) => orNone(formatLabelSelector(spec.jobTemplate.spec?.selector))),
];

function status({ metadata, status: state }: Job): string {
  const has = (type: string) => isConditionTrue(state?.conditions, type);
  if (has('Complete')) return 'Complete';
  if (has('Failed')) return 'Failed';
  if (metadata.deletionTimestamp !== undefined) return 'Terminating';
  const later = ['Suspended', 'FailureTarget', 'SuccessCriteriaMet'];
  return later.find(has) ?? 'Running';
}

function completions({ spec, status: state }: Job): string {
  const succeeded = state?.succeeded ?? 0;
  if (spec.completions !== undefined) return `${succeeded}/${spec.completions}`;
  const parallelism = spec.parallelism ?? 0;
  return parallelism > 1 ? `${succeeded}/1 of ${parallelism}` : `${succeeded}/1`;
}

function duration({ status: state }: Job, nowMs: number): string {
  if (state?.startTime === undefined) return '';
  const end = state.completionTime === undefined ? nowMs : Date.parse(state.completionTime);
  return humanDuration(end - Date.parse(state.startTime));
}
