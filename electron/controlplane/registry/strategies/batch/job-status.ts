// What a job's controller may say of it: terminal conditions stay, counters grow, and a finished
// job has nothing left that runs.
// Source: kubernetes pkg/apis/batch/validation/validation.go validateJobStatus.
import type { Job, JobStatus } from '#kube/api/batch.ts';
import { isConditionTrue } from '#kube/machinery/conditions.ts';
import {
  duplicate,
  field,
  invalid,
  invalidForm,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { checkNonNegative, immutableMessage } from '../text-rules.ts';
import { IndexesError, countIndexes, findOverlap } from './job-indexes.ts';

const path = field('status');

export function validateJobStatus(next: Job, old: Job): FieldError[] {
  const { status = {} } = next;
  return [
    ...validateCounts(status),
    ...validateConditions(status),
    ...validateTimes(status),
    ...validateFinished(next),
    ...validateIndexes(next),
    ...validateReady(status),
    ...validateChange(next, old),
  ];
}

function isTrue({ conditions }: JobStatus, type: string): boolean {
  return isConditionTrue(conditions, type);
}

function validateCounts(status: JobStatus): FieldError[] {
  const names = ['active', 'succeeded', 'failed', 'ready', 'terminating'] as const;
  const { succeeded = [], failed = [] } = status.uncountedTerminatedPods ?? {};
  const seen = new Set<string>();
  const at = path.child('uncountedTerminatedPods');
  const uids = (list: readonly string[], listPath: FieldPath) =>
    list.flatMap((uid, index) => {
      if (uid === '') return [invalid(listPath.index(index), uid, 'must not be empty')];
      if (seen.has(uid)) return [duplicate(listPath.index(index), uid)];
      seen.add(uid);
      return [];
    });
  return [
    ...names.flatMap((name) => checkNonNegative(path.child(name), status[name])),
    ...uids(succeeded, at.child('succeeded')),
    ...uids(failed, at.child('failed')),
  ];
}

const exclusive = [
  ['Complete', 'Failed'],
  ['Complete', 'FailureTarget'],
  ['SuccessCriteriaMet', 'Failed'],
  ['SuccessCriteriaMet', 'FailureTarget'],
] as const;

function validateConditions(status: JobStatus): FieldError[] {
  const at = path.child('conditions');
  const errors = exclusive.flatMap(([one, other]) =>
    isTrue(status, one) && isTrue(status, other)
      ? [invalidForm(at, `cannot set ${one}=True and ${other}=true conditions`)]
      : [],
  );
  if (isTrue(status, 'Failed') && !isTrue(status, 'FailureTarget'))
    errors.push(
      invalidForm(at, 'cannot set Failed=True condition without the FailureTarget=true condition'),
    );
  if (isTrue(status, 'Complete') && !isTrue(status, 'SuccessCriteriaMet'))
    errors.push(
      invalidForm(
        at,
        'cannot set Complete=True condition without the SuccessCriteriaMet=true condition',
      ),
    );
  return errors;
}

function validateTimes(status: JobStatus): FieldError[] {
  const { startTime, completionTime } = status;
  const at = path.child('completionTime');
  const isComplete = isTrue(status, 'Complete');
  const errors: FieldError[] = [];
  if (completionTime !== undefined && !isComplete)
    errors.push(
      invalid(
        at,
        completionTime,
        'cannot set completionTime when there is no Complete=True condition',
      ),
    );
  if (completionTime === undefined && isComplete)
    errors.push(required(at, 'completionTime is required for Complete jobs'));
  const isBefore =
    startTime !== undefined &&
    completionTime !== undefined &&
    Date.parse(completionTime) < Date.parse(startTime);
  if (isBefore) errors.push(invalid(at, completionTime, 'must be equal to or after `startTime`'));
  return errors;
}

function validateFinished({ spec, status = {} }: Job): FieldError[] {
  if (!isTrue(status, 'Complete') && !isTrue(status, 'Failed')) return [];
  const { active = 0, terminating = 0, startTime, uncountedTerminatedPods } = status;
  const errors: FieldError[] = [];
  if (active > 0)
    errors.push(invalid(path.child('active'), active, 'active>0 is invalid for finished job'));
  const neverStarts = spec.suspend === true && spec.completions === 0;
  if (startTime === undefined && !neverStarts)
    errors.push(required(path.child('startTime'), 'startTime is required for finished job'));
  const { succeeded = [], failed = [] } = uncountedTerminatedPods ?? {};
  if (succeeded.length + failed.length > 0)
    errors.push(
      invalid(
        path.child('uncountedTerminatedPods'),
        uncountedTerminatedPods,
        'must be empty for finished job',
      ),
    );
  if (terminating > 0)
    errors.push(
      invalid(path.child('terminating'), terminating, 'terminating>0 is invalid for finished job'),
    );
  return errors;
}

function validateIndexes({ spec, status = {} }: Job): FieldError[] {
  const { completions, backoffLimitPerIndex, completionMode } = spec;
  const { completedIndexes = '', failedIndexes } = status;
  const errors: FieldError[] = [];
  const readable = (name: 'completedIndexes' | 'failedIndexes', text: string): void => {
    try {
      countIndexes(text, completions ?? 0);
    } catch (error) {
      if (!(error instanceof IndexesError)) throw error;
      errors.push(invalid(path.child(name), text, `error parsing ${name}: ${error.message}`));
    }
  };
  if (completions !== undefined) readable('completedIndexes', completedIndexes);
  if (
    completions !== undefined &&
    backoffLimitPerIndex !== undefined &&
    failedIndexes !== undefined
  )
    readable('failedIndexes', failedIndexes);
  if (completedIndexes !== '' && completionMode !== 'Indexed')
    errors.push(
      invalid(
        path.child('completedIndexes'),
        completedIndexes,
        'cannot set non-empty completedIndexes when non-indexed completion mode',
      ),
    );
  if (failedIndexes === undefined) return errors;
  const at = path.child('failedIndexes');
  if (backoffLimitPerIndex === undefined)
    errors.push(
      invalid(
        at,
        failedIndexes,
        'cannot set non-null failedIndexes when backoffLimitPerIndex is null',
      ),
    );
  const overlap = findOverlap(completedIndexes, failedIndexes, completions ?? 0);
  if (overlap !== undefined)
    errors.push(
      invalid(at, failedIndexes, `failedIndexes and completedIndexes overlap at index: ${overlap}`),
    );
  return errors;
}

function validateReady({ ready = 0, active = 0 }: JobStatus): FieldError[] {
  return ready > active
    ? [invalid(path.child('ready'), ready, 'cannot set more ready pods than active')]
    : [];
}

const terminalConditions = ['Failed', 'Complete', 'FailureTarget', 'SuccessCriteriaMet'];

function validateChange({ spec, status: next = {} }: Job, { status: old = {} }: Job): FieldError[] {
  const errors: FieldError[] = [];
  for (const type of terminalConditions)
    if (isTrue(old, type) && !isTrue(next, type)) {
      const what = type === 'SuccessCriteriaMet' ? 'the' : 'the terminal';
      errors.push(
        invalidForm(path.child('conditions'), `cannot disable ${what} ${type}=True condition`),
      );
    }
  for (const name of ['failed', 'succeeded'] as const) {
    const isFree = name === 'succeeded' && spec.completionMode === 'Indexed';
    if (!isFree && (next[name] ?? 0) < (old[name] ?? 0))
      errors.push(
        invalid(path.child(name), next[name] ?? 0, `cannot decrease the ${name} counter`),
      );
  }
  const { completionTime } = next;
  if (
    completionTime !== undefined &&
    old.completionTime !== undefined &&
    completionTime !== old.completionTime
  )
    errors.push(invalid(path.child('completionTime'), completionTime, immutableMessage));
  const isMoved = old.startTime !== undefined && old.startTime !== next.startTime;
  if (isMoved && spec.suspend !== true)
    errors.push(
      required(path.child('startTime'), 'startTime cannot be removed for unsuspended job'),
    );
  return errors;
}
