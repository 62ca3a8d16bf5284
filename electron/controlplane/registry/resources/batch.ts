// Jobs and cron jobs in the resource table.
import type { CronJob, Job } from '#kube/api/batch.ts';
import { cronJobColumns, jobColumns } from '../columns/batch.ts';
import type { ResourceDefinition } from '../resource.ts';
import { cronJobStatus, cronJobStrategy } from '../strategies/batch/cron-job.ts';
import { jobStatus, jobStrategy } from '../strategies/batch/job.ts';
import { generic, named } from './define.ts';

const jobs: ResourceDefinition<Job> = {
  ...named('batch', 'batch/v1', 'Job', 'jobs'),
  categories: ['all'],
  strategy: jobStrategy,
  columns: jobColumns,
  fieldSelectors: { 'status.successful': ({ status }) => `${status?.succeeded ?? 0}` },
  subresources: { status: jobStatus },
};

const cronJobs: ResourceDefinition<CronJob> = {
  ...named('batch', 'batch/v1', 'CronJob', 'cronjobs'),
  shortNames: ['cj'],
  categories: ['all'],
  strategy: cronJobStrategy,
  columns: cronJobColumns,
  subresources: { status: cronJobStatus },
};

export const batchResources: readonly ResourceDefinition[] = [generic(jobs), generic(cronJobs)];
