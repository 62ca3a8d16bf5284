// Quotas through the API server: they hold against any number of writers, also through two servers.
import { afterEach, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { startTestApi, type TestApi } from '../../../../test/setup/api.ts';
import { containerOf, podOf } from '../../../../test/setup/kinds.ts';
import { openMemoryStore } from '../../store/memory-store.ts';
import { resourceQuota } from './resource-quota.ts';

let apis: TestApi[] = [];
afterEach(async () => {
  await Promise.all(apis.map((api) => api.stop()));
  apis = [];
});

/** API servers over one store. */
async function start(count: number): Promise<void> {
  const store = openMemoryStore();
  for (let n = 0; n < count; n++) {
    const api = await startTestApi({
      store,
      plugins: (registry) => [
        resourceQuota({
          reader: registry.reader,
          writeStatus: (...written) => registry.writeStatus(...written),
          clock: new ManualClock(),
        }),
      ],
    });
    apis.push(api);
  }
}

const path = '/api/v1/namespaces/default';

async function makeQuota(name: string, hard: Record<string, string>): Promise<void> {
  const quota = { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name }, spec: { hard } };
  const { json } = await ask(0, 'POST', `${path}/resourcequotas`, quota);
  const used = Object.fromEntries(Object.keys(hard).map((key) => [key, '0']));
  const status = { hard, used };
  const { status: code } = await ask(0, 'PUT', `${path}/resourcequotas/${name}/status`, {
    ...json,
    status,
  });
  expect(code).toBe(200);
  for (const { registry } of apis) await registry.resource(definition()).cacher.waitUntilCurrent();
}

function definition() {
  const found = apis[0]?.registry.table.lookup('', 'v1', 'resourcequotas');
  if (found === undefined) throw new Error('quotas are in the table');
  return found;
}

function ask(server: number, method: 'GET' | 'POST' | 'PUT', url: string, body?: unknown) {
  const api = apis[server];
  if (api === undefined) throw new Error(`no server ${server}`);
  return api.request(method, url, { body });
}

async function usedOf(name: string): Promise<unknown> {
  return (await ask(0, 'GET', `${path}/resourcequotas/${name}`)).json.status.used;
}

function pod(name: string): object {
  const resources = { requests: { cpu: '300m' }, limits: { cpu: '300m' } };
  return podOf({ containers: [containerOf({ resources })] }, { name });
}

it('what a quota counts takes nothing from those who own its fields', async () => {
  await start(1);
  await makeQuota('count', { pods: '2' });
  const quotaPath = `${path}/resourcequotas/count`;
  const before = (await ask(0, 'GET', quotaPath)).json.metadata.managedFields;
  await ask(0, 'POST', `${path}/pods`, pod('a'));
  const { metadata, status } = (await ask(0, 'GET', quotaPath)).json;
  expect([status.used, metadata.managedFields]).toEqual([{ pods: '1' }, before]);
  expect(before.length).toBeGreaterThan(0);
});

it('forty writers at once, through two servers, get what there is and no more', async () => {
  await start(2);
  await makeQuota('cpu', { 'requests.cpu': '2' });
  await makeQuota('count', { pods: '30' });
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, n) => ask(n % 2, 'POST', `${path}/pods`, pod(`p${n}`))),
  );
  const made = answers.filter(({ status }) => status === 201).length;
  const { json } = await ask(0, 'GET', `${path}/pods`);
  expect([made, json.items.length, await usedOf('cpu')]).toEqual([
    6,
    6,
    { 'requests.cpu': '1800m' },
  ]);
  // Nothing is charged twice, though many had to try again.
  expect(await usedOf('count')).toEqual({ pods: '6' });
  const refused = answers.filter(({ status }) => status !== 201);
  expect(new Set(refused.map(({ status }) => status))).toEqual(new Set([403]));
  expect(refused[0]?.json.message).toMatch(
    /^pods "p\d+" is forbidden: exceeded quota: cpu, requested: requests\.cpu=300m, used: requests\.cpu=1800m, limited: requests\.cpu=2$/,
  );
});

it('a dry run is judged and not charged', async () => {
  await start(1);
  await makeQuota('count', { pods: '1' });
  const answers = [
    await ask(0, 'POST', `${path}/pods?dryRun=All`, pod('a')),
    await ask(0, 'POST', `${path}/pods`, pod('a')),
    await ask(0, 'POST', `${path}/pods?dryRun=All`, pod('b')),
  ];
  expect(answers.map(({ status }) => status)).toEqual([201, 201, 403]);
  expect(await usedOf('count')).toEqual({ pods: '1' });
});

it('what no quota speaks of is free', async () => {
  await start(1);
  await makeQuota('count', { pods: '0' });
  const config = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' } };
  expect((await ask(0, 'POST', `${path}/configmaps`, config)).status).toBe(201);
  expect((await ask(0, 'POST', `${path}/pods`, pod('a'))).status).toBe(403);
});
