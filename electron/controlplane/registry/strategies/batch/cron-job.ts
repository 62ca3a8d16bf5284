// CronJobs: a schedule, and the jobs it makes.
// Source: kubernetes pkg/registry/batch/cronjob/strategy.go, pkg/apis/batch/{v1/defaults.go,
// validation/validation.go}.
import type { CronJob, CronJobSpec, JobTemplateSpec } from '#kube/api/batch.ts';
import { CronScheduleError, parseCronSchedule } from '#kube/machinery/cron-schedule.ts';
import {
  field,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { byteLength, dns1123SubdomainName, maxLengthMessage } from '#kube/machinery/names.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { checkChoice, checkNonNegative } from '../text-rules.ts';
import { applyTemplateDefaults } from '../pod/defaults.ts';
import { validateJobSpec } from './job.ts';

/** A job's name has eleven characters more, and 63 in all. */
const maxNameLength = 52;

export const cronJobStrategy: Strategy<CronJob> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec }) {
    spec.concurrencyPolicy ||= 'Allow';
    spec.suspend ??= false;
    spec.successfulJobsHistoryLimit ??= 3;
    spec.failedJobsHistoryLimit ??= 1;
    applyTemplateDefaults(spec.jobTemplate.spec?.template);
  },
  prepareForCreate(cronJob) {
    cronJob.status = {};
  },
  validate: ({ metadata, spec }) => [
    ...validateCronJobSpec(spec, field('spec')),
    ...(byteLength(metadata.name) > maxNameLength
      ? [invalid(field('metadata', 'name'), metadata.name, maxLengthMessage(maxNameLength))]
      : []),
  ],
};

export const cronJobStatus: StatusSubresource<CronJob> = { type: 'status' };

function validateCronJobSpec(spec: CronJobSpec, path: FieldPath): FieldError[] {
  const { schedule, timeZone }: Partial<CronJobSpec> = spec;
  const at = path.child('schedule');
  return [
    ...((schedule ?? '') === '' ? [required(at, '')] : validateSchedule(schedule ?? '', at)),
    ...checkNonNegative(path.child('startingDeadlineSeconds'), spec.startingDeadlineSeconds),
    ...(timeZone === undefined ? [] : validateTimeZone(timeZone, path.child('timeZone'))),
    ...checkChoice(path.child('concurrencyPolicy'), spec.concurrencyPolicy, [
      'Allow',
      'Forbid',
      'Replace',
    ]),
    ...validateJobTemplate(spec.jobTemplate, path.child('jobTemplate', 'spec')),
    ...(['successfulJobsHistoryLimit', 'failedJobsHistoryLimit'] as const).flatMap((name) =>
      checkNonNegative(path.child(name), spec[name]),
    ),
  ];
}

function validateSchedule(schedule: string, path: FieldPath): FieldError[] {
  const errors: FieldError[] = [];
  try {
    parseCronSchedule(schedule);
  } catch (error) {
    if (!(error instanceof CronScheduleError)) throw error;
    errors.push(invalid(path, schedule, error.message));
  }
  if (schedule.includes('TZ'))
    errors.push(
      invalid(path, schedule, 'cannot use TZ or CRON_TZ in schedule, use timeZone field instead'),
    );
  return errors;
}

function validateTimeZone(timeZone: string, path: FieldPath): FieldError[] {
  if (timeZone === '') return [invalid(path, timeZone, 'timeZone must be nil or non-empty string')];
  const isPart = (part: string) =>
    part !== '.' && part !== '..' && /^(?!-)[A-Za-z.\-_0-9+]{1,14}$/.test(part);
  if (!timeZone.split('/').every(isPart) || !isTimeZone(timeZone))
    return timeZone.toLowerCase() === 'local'
      ? [
          invalid(
            path,
            timeZone,
            'timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones',
          ),
        ]
      : [invalid(path, timeZone, `unknown time zone ${timeZone}`)];
  return [];
}

function isTimeZone(name: string): boolean {
  // Offsets are no names, though the engine takes them.
  if (/^[+-]?\d/.test(name)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name }).format();
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** The selector of a job is made when the job is. */
function validateJobTemplate({ spec }: JobTemplateSpec, path: FieldPath): FieldError[] {
  if (spec === undefined) return [required(path, '')];
  const errors = validateJobSpec(spec, path);
  if (spec.selector !== undefined)
    errors.push(
      invalid(path.child('selector'), spec.selector, '`selector` will be auto-generated'),
    );
  if (spec.manualSelector === true)
    errors.push(notSupported(path.child('manualSelector'), true, ['nil', 'false']));
  return errors;
}
