import { afterEach, beforeEach, expect, it } from 'vitest';
import type { EnrolmentSpec } from '#kube/api/fleet.ts';
import { startTestApi, type TestApi } from '../../../../test/setup/api.ts';

let api: TestApi;
let asked: EnrolmentSpec[];
let admitted: unknown[];
beforeEach(async () => {
  asked = [];
  admitted = [];
  const look = ({ operation, subresource, object }: Record<string, unknown>): void => {
    if (subresource === 'enrolment') admitted.push({ operation, object });
  };
  api = await startTestApi({
    plugins: () => [
      {
        name: 'Looks',
        handles: () => true,
        admit: async (attributes) => look({ ...attributes }),
        validate: async (attributes) => look({ ...attributes }),
      },
    ],
    enrol: (_machine, spec) => {
      asked.push(spec);
      return Promise.resolve({ phase: 'Planned' });
    },
  });
  await api.request('POST', machines, { body: { metadata: { name: 'pi' } } });
});
afterEach(() => api.stop());

const machines = '/apis/flotilla.dev/v1alpha1/machines';
const url = `${machines}/pi/enrolment`;
const spec = {
  phase: 'Apply',
  user: 'pi',
  password: 'secret',
  sudoPassword: 's2',
  privateKey: 'k',
};

it('answers without what was asked, and shows no secret to those who may refuse it', async () => {
  const { status, json } = await api.request('POST', url, { body: { spec } });
  expect([status, json]).toEqual([
    201,
    {
      apiVersion: 'flotilla.dev/v1alpha1',
      kind: 'Enrolment',
      metadata: { name: 'pi' },
      status: { phase: 'Planned' },
    },
  ]);
  expect(asked).toEqual([spec]);
  const shown = {
    operation: 'CREATE',
    object: {
      apiVersion: 'flotilla.dev/v1alpha1',
      kind: 'Enrolment',
      metadata: { name: 'pi' },
      spec: { phase: 'Apply', user: 'pi' },
    },
  };
  expect(admitted).toEqual([shown, shown]);
});

it('a dry run only looks', async () => {
  await api.request('POST', `${url}?dryRun=All`, { body: { spec } });
  expect(asked[0]?.phase).toBe('Inspect');
});

it('what can not be read is not quoted', async () => {
  const headers = { 'content-type': 'application/json' };
  const body = '{"spec":{"password":"secret"';
  const { status, text } = await api.request('POST', url, { body, headers });
  expect([status, text.includes('secret')]).toEqual([400, false]);
});

it('is for machines that there are', async () => {
  const { status } = await api.request('POST', `${machines}/other/enrolment`, { body: { spec } });
  expect([status, asked]).toEqual([404, []]);
});
