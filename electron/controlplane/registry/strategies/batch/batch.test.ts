import { describe, expect, it } from 'vitest';
import { kindWorld, refusal } from '../../../../../test/setup/kinds.ts';

const uid = 'a00087fb-f747-4cb8-adfe-747d23673f27';
const template = (spec: object = {}) => ({
  spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'busybox:1' }], ...spec },
});
const jobOf = (spec: object = {}, metadata: object = {}) => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name: 'once', ...metadata },
  spec: { template: template(), ...spec },
});
const cronJobOf = (spec: object = {}, metadata: object = {}) => ({
  apiVersion: 'batch/v1',
  kind: 'CronJob',
  metadata: { name: 'often', ...metadata },
  spec: { schedule: '*/5 * * * *', jobTemplate: { spec: { template: template() } }, ...spec },
});

it('a Job gets its selector, its labels and what its author left out', async () => {
  const labels = {
    'controller-uid': uid,
    'job-name': 'once',
    'batch.kubernetes.io/controller-uid': uid,
    'batch.kubernetes.io/job-name': 'once',
  };
  const { metadata, spec, status } = await kindWorld().create(jobOf());
  const { template: made, ...rest } = spec as Record<string, object>;
  expect({ labels: metadata.labels, generation: metadata.generation, status }).toEqual({
    labels,
    generation: 1,
    status: {},
  });
  expect((made as { metadata: object }).metadata).toEqual({ labels });
  expect(rest).toEqual({
    backoffLimit: 6,
    completionMode: 'NonIndexed',
    completions: 1,
    manualSelector: false,
    parallelism: 1,
    podReplacementPolicy: 'TerminatingOrFailed',
    selector: { matchLabels: { 'batch.kubernetes.io/controller-uid': uid } },
    suspend: false,
  });
});

it('a CronJob gets what its author left out', async () => {
  const { spec, status } = await kindWorld().create(cronJobOf());
  const { jobTemplate: _, ...rest } = spec as Record<string, unknown>;
  expect({ ...rest, status }).toEqual({
    schedule: '*/5 * * * *',
    concurrencyPolicy: 'Allow',
    failedJobsHistoryLimit: 1,
    successfulJobsHistoryLimit: 3,
    suspend: false,
    status: {},
  });
});

describe('a Job is refused', () => {
  const indexed = { completionMode: 'Indexed', completions: 3 };
  const rules = (...list: object[]) => ({ podFailurePolicy: { rules: list } });
  const cases: readonly { name: string; given: object; want: string }[] = [
    {
      name: 'without a spec',
      given: { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'once' } },
      want: 'Job.batch "once" is invalid: [spec.template.spec.containers: Required value, spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"]',
    },
    {
      name: 'that restarts for ever',
      given: jobOf({ template: template({ restartPolicy: 'Always' }) }),
      want: 'Job.batch "once" is invalid: spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
    },
    {
      name: 'with negative counts',
      given: jobOf({ parallelism: -1, backoffLimit: -2 }),
      want: 'Job.batch "once" is invalid: [spec.parallelism: Invalid value: -1: must be greater than or equal to 0, spec.backoffLimit: Invalid value: -2: must be greater than or equal to 0]',
    },
    {
      name: 'with a selector that is not its own',
      given: jobOf({ selector: { matchLabels: { app: 'web' } } }),
      want: 'Job.batch "once" is invalid: [spec.selector: Invalid value: {"matchLabels":{"batch.kubernetes.io/controller-uid":"a00087fb-f747-4cb8-adfe-747d23673f27","app":"web"}}: `selector` not auto-generated, spec.template.metadata.labels: Invalid value: {"controller-uid":"a00087fb-f747-4cb8-adfe-747d23673f27","job-name":"once","batch.kubernetes.io/controller-uid":"a00087fb-f747-4cb8-adfe-747d23673f27","batch.kubernetes.io/job-name":"once"}: `selector` does not match template `labels`]',
    },
    {
      name: 'indexed without completions',
      given: jobOf({ completionMode: 'Indexed', parallelism: 2 }),
      want: 'Job.batch "once" is invalid: spec.completions: Required value: when completion mode is Indexed',
    },
    {
      name: 'with a limit for each index and no indexes',
      given: jobOf({ backoffLimitPerIndex: 1 }),
      want: 'Job.batch "once" is invalid: spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode',
    },
    {
      name: 'with an action nobody knows, for no reason',
      given: jobOf(rules({ action: 'Cry' })),
      want: 'Job.batch "once" is invalid: [spec.podFailurePolicy.rules[0].action: Unsupported value: "Cry": supported values: "Count", "FailIndex", "FailJob", "Ignore", spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required]',
    },
    {
      name: 'with exit codes in disorder',
      given: jobOf(rules({ action: 'Ignore', onExitCodes: { operator: 'In', values: [2, 0, 2] } })),
      want: 'Job.batch "once" is invalid: [spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator, spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 2, spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,0,2]: must be ordered]',
    },
    {
      name: 'whose success asks for more indexes than there are',
      given: jobOf({
        ...indexed,
        successPolicy: { rules: [{ succeededIndexes: '0-5' }, { succeededCount: 4 }] },
      }),
      want: 'Job.batch "once" is invalid: [spec.successPolicy.rules[0].succeededIndexes: Invalid value: "0-5": error parsing succeededIndexes: too large index: "5", spec.successPolicy.rules[1].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of specified completions)]',
    },
    {
      name: 'managed by something without a domain',
      given: jobOf({ managedBy: 'me' }),
      want: 'Job.batch "once" is invalid: spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")',
    },
  ];
  it.each(cases)('$name', async ({ given, want }) => {
    expect(await refusal(kindWorld().create(given))).toBe(want);
  });
});

describe('a Job that exists', () => {
  const changed = async (change: (spec: Record<string, unknown>) => void, given = jobOf()) => {
    const world = kindWorld();
    const job = await world.create(given);
    return refusal(world.update(job, (next) => change(next['spec'] as Record<string, unknown>)));
  };

  it('can be suspended and run with more pods at once', async () => {
    const message = await changed((spec) => Object.assign(spec, { suspend: true, parallelism: 3 }));
    expect(message).toBe('');
  });

  it('keeps its completions and its template', async () => {
    expect(await changed((spec) => (spec['completions'] = 2))).toBe(
      'Job.batch "once" is invalid: spec.completions: Invalid value: 2: field is immutable',
    );
    const message = await changed((spec) => {
      (spec['template'] as { spec: { nodeSelector: object } }).spec.nodeSelector = { a: 'b' };
    });
    expect(message).toMatch(/^Job.batch "once" is invalid: spec.template: .*field is immutable$/);
  });

  it('can be moved while it is suspended', async () => {
    const message = await changed(
      (spec) => {
        (spec['template'] as { spec: { nodeSelector: object } }).spec.nodeSelector = { a: 'b' };
      },
      jobOf({ suspend: true }),
    );
    expect(message).toBe('');
  });

  const complete = (type: string) => ({ type, status: 'True' });
  const times = { startTime: '2026-11-23T12:00:00Z', completionTime: '2026-11-23T12:01:00Z' };
  const statuses: readonly { name: string; given: object; want: string }[] = [
    {
      name: 'complete',
      given: {
        ...times,
        succeeded: 1,
        conditions: [complete('SuccessCriteriaMet'), complete('Complete')],
      },
      want: '',
    },
    {
      name: 'complete without a reason and a time',
      given: { conditions: [complete('Complete')] },
      want: 'Job.batch "once" is invalid: [status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition, status.completionTime: Required value: completionTime is required for Complete jobs, status.startTime: Required value: startTime is required for finished job]',
    },
    {
      name: 'ended before it started',
      given: {
        startTime: times.completionTime,
        completionTime: times.startTime,
        conditions: [complete('SuccessCriteriaMet'), complete('Complete')],
      },
      want: 'Job.batch "once" is invalid: status.completionTime: Invalid value: "2026-11-23T12:00:00Z": must be equal to or after `startTime`',
    },
    {
      name: 'more ready than there are',
      given: { ready: 2, active: 1 },
      want: 'Job.batch "once" is invalid: status.ready: Invalid value: 2: cannot set more ready pods than active',
    },
  ];
  it.each(statuses)('may say of itself, or not: $name', async ({ given, want }) => {
    const world = kindWorld();
    const job = await world.create(jobOf());
    const attempt = world.update(job, (next) => void (next['status'] = given), 'status');
    expect(await refusal(attempt)).toBe(want);
  });
});

describe('a CronJob is refused', () => {
  const cases: readonly { name: string; given: object; want: string }[] = [
    {
      name: 'with a schedule of four fields',
      given: cronJobOf({ schedule: '* * * *' }),
      want: 'spec.schedule: Invalid value: "* * * *": expected exactly 5 fields, found 4: [* * * *]',
    },
    {
      name: 'with a zone in its schedule',
      given: cronJobOf({ schedule: 'TZ=UTC * * * * *' }),
      want: 'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead',
    },
    {
      name: 'in a zone nobody knows',
      given: cronJobOf({ timeZone: 'Mars/Base' }),
      want: 'spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base',
    },
    {
      name: 'with a policy nobody knows',
      given: cronJobOf({ concurrencyPolicy: 'Maybe' }),
      want: 'spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"',
    },
    {
      name: 'with a name that leaves no room for its jobs',
      given: cronJobOf({}, { name: 'a'.repeat(53) }),
      want: `metadata.name: Invalid value: "${'a'.repeat(53)}": must be no more than 52 bytes`,
    },
    {
      name: 'whose jobs have a selector',
      given: cronJobOf({
        jobTemplate: { spec: { template: template(), selector: {}, manualSelector: true } },
      }),
      want: '[spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated, spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"]',
    },
  ];
  it.each(cases)('$name', async ({ given, want }) => {
    const { name } = (given as { metadata: { name: string } }).metadata;
    const message = await refusal(kindWorld().create(given));
    expect(message).toBe(`CronJob.batch "${name}" is invalid: ${want}`);
  });

  it('a zone there is passes', async () => {
    expect(await refusal(kindWorld().create(cronJobOf({ timeZone: 'Europe/Berlin' })))).toBe('');
  });
});
