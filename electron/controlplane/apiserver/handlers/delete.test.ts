import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { startTestApi, type TestApi } from '../../../../test/setup/api.ts';

let api: TestApi;
beforeEach(async () => {
  api = await startTestApi();
});
afterEach(() => api.stop());

const configMaps = '/api/v1/namespaces/default/configmaps';
const pods = '/api/v1/namespaces/default/pods';

async function create(url: string, body: object) {
  const { status, json } = await api.request('POST', url, { body });
  expect(status).toBe(201);
  return json;
}

function configMap(name: string, finalizers: string[] = [], labels = {}) {
  return { metadata: { name, labels, ...(finalizers.length > 0 ? { finalizers } : {}) } };
}

function pod(name: string, nodeName?: string) {
  return { metadata: { name }, spec: { nodeName, containers: [{ name: 'c', image: 'i' }] } };
}

async function exists(url: string): Promise<boolean> {
  return (await api.request('GET', url)).status === 200;
}

describe('delete', () => {
  it('removes at once and answers with a Status that names the uid', async () => {
    const { metadata } = await create(configMaps, configMap('cm'));
    const { status, json } = await api.request('DELETE', `${configMaps}/cm`);
    expect([status, json]).toEqual([
      200,
      {
        kind: 'Status',
        apiVersion: 'v1',
        metadata: {},
        status: 'Success',
        details: { name: 'cm', kind: 'configmaps', uid: metadata.uid },
      },
    ]);
    expect(await exists(`${configMaps}/cm`)).toBe(false);
  });
  it('of an absent object is a 404', async () => {
    expect((await api.request('DELETE', `${configMaps}/x`)).status).toBe(404);
  });
  it('waits for finalizers: the first one marks, the next ones change nothing', async () => {
    await create(configMaps, configMap('cm', ['example.com/hold']));
    const { status, json } = await api.request('DELETE', `${configMaps}/cm`);
    expect([
      status,
      json.metadata.deletionTimestamp,
      json.metadata.deletionGracePeriodSeconds,
    ]).toEqual([200, '2023-11-14T22:13:20Z', 0]);
    api.clock.advance(5000);
    const again = await api.request('DELETE', `${configMaps}/cm`);
    expect(again.json.metadata.resourceVersion).toBe(json.metadata.resourceVersion);
  });
  const preconditions = [
    {
      given: { uid: 'u' },
      message:
        /^Operation cannot be fulfilled on ConfigMap "cm": the UID in the precondition \(u\) does not match the UID in record \([0-9a-f-]+\)\. The object might have been deleted and then recreated$/,
    },
    {
      given: { resourceVersion: '9' },
      message:
        'Operation cannot be fulfilled on ConfigMap "cm": the ResourceVersion in the precondition (9) does not match the ResourceVersion in record (1). The object might have been modified',
    },
  ];
  it.each(preconditions)('holds to its precondition $given', async ({ given, message }) => {
    await create(configMaps, configMap('cm'));
    const body = { kind: 'DeleteOptions', apiVersion: 'v1', preconditions: given };
    const { status, json } = await api.request('DELETE', `${configMaps}/cm`, { body });
    expect([status, json.reason]).toEqual([409, 'Conflict']);
    expect(json.message).toEqual(
      typeof message === 'string' ? message : expect.stringMatching(message),
    );
    expect(await exists(`${configMaps}/cm`)).toBe(true);
  });
  it('of a dry run leaves the object', async () => {
    await create(configMaps, configMap('cm'));
    expect((await api.request('DELETE', `${configMaps}/cm?dryRun=All`)).status).toBe(200);
    expect(await exists(`${configMaps}/cm`)).toBe(true);
  });
  const policies = [
    { query: 'propagationPolicy=Foreground', want: ['foregroundDeletion'], status: 202 },
    { query: 'propagationPolicy=Orphan', want: ['orphan'], status: 200 },
    { query: 'orphanDependents=true', want: ['orphan'], status: 200 },
  ];
  it.each(policies)(
    'with $query leaves $want to the garbage collector',
    async ({ query, want, status }) => {
      await create(configMaps, configMap('cm'));
      const answer = await api.request('DELETE', `${configMaps}/cm?${query}`);
      expect([answer.status, answer.json.metadata.finalizers]).toEqual([status, want]);
    },
  );
  it('changes the policy of a deletion that waits', async () => {
    await create(configMaps, configMap('cm'));
    await api.request('DELETE', `${configMaps}/cm?propagationPolicy=Foreground`);
    const orphan = await api.request('DELETE', `${configMaps}/cm?propagationPolicy=Orphan`);
    expect(orphan.json.metadata.finalizers).toEqual(['orphan']);
    await api.request('DELETE', `${configMaps}/cm?propagationPolicy=Background`);
    expect(await exists(`${configMaps}/cm`)).toBe(false);
  });
  const refused = [
    {
      body: { propagationPolicy: 'Later' },
      message:
        'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Later": supported values: "Foreground", "Background", "Orphan", "nil"',
    },
    {
      body: { propagationPolicy: 'Orphan', orphanDependents: true },
      message:
        'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set',
    },
  ];
  it.each(refused)('refuses $body', async ({ body, message }) => {
    await create(configMaps, configMap('cm'));
    const { status, json } = await api.request('DELETE', `${configMaps}/cm`, { body });
    expect([status, json.message]).toEqual([422, message]);
  });
});

describe('graceful deletion of pods', () => {
  it('takes an unscheduled pod at once', async () => {
    await create(pods, pod('p'));
    await api.request('DELETE', `${pods}/p`);
    expect(await exists(`${pods}/p`)).toBe(false);
  });
  it('gives a scheduled one its grace; the agent confirms with grace 0', async () => {
    const { metadata } = await create(pods, pod('p', 'n1'));
    const first = (await api.request('DELETE', `${pods}/p`)).json;
    expect(first.metadata).toMatchObject({
      deletionTimestamp: '2023-11-14T22:13:50Z',
      deletionGracePeriodSeconds: 30,
    });
    const again = (await api.request('DELETE', `${pods}/p`)).json;
    expect(again.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
    const body = { gracePeriodSeconds: 0, preconditions: { uid: metadata.uid } };
    expect((await api.request('DELETE', `${pods}/p`, { body })).status).toBe(200);
    expect(await exists(`${pods}/p`)).toBe(false);
  });
  it('is only ever shortened', async () => {
    await create(pods, pod('p', 'n1'));
    await api.request('DELETE', `${pods}/p`);
    const longer = await api.request('DELETE', `${pods}/p?gracePeriodSeconds=60`);
    expect(longer.json.metadata.deletionGracePeriodSeconds).toBe(30);
    const shorter = await api.request('DELETE', `${pods}/p?gracePeriodSeconds=5`);
    expect(shorter.json.metadata).toMatchObject({
      deletionTimestamp: '2023-11-14T22:13:25Z',
      deletionGracePeriodSeconds: 5,
    });
  });
});

describe('deletecollection', () => {
  it('deletes what the selector means and answers with the list', async () => {
    for (const name of ['a', 'b', 'c'])
      await create(configMaps, configMap(name, [], { del: String(name !== 'b') }));
    const { status, json } = await api.request('DELETE', `${configMaps}?labelSelector=del%3Dtrue`);
    expect([status, json.kind]).toEqual([200, 'ConfigMapList']);
    expect(json.items.map((item: { metadata: { name: string } }) => item.metadata.name)).toEqual([
      'a',
      'c',
    ]);
    const { json: left } = await api.request('GET', configMaps);
    expect(left.items).toHaveLength(1);
  });
  it('is not offered across namespaces', async () => {
    expect((await api.request('DELETE', '/api/v1/configmaps')).status).toBe(405);
  });
});

describe('namespaces', () => {
  const namespaces = '/api/v1/namespaces';
  it('terminate until finalized', async () => {
    const { spec } = await create(namespaces, { metadata: { name: 'team' } });
    expect(spec.finalizers).toEqual(['kubernetes']);
    const { json } = await api.request('DELETE', `${namespaces}/team`);
    expect([json.status.phase, json.metadata.deletionTimestamp]).toEqual([
      'Terminating',
      '2023-11-14T22:13:20Z',
    ]);
    const body = { ...json, spec: { finalizers: [] } };
    const answer = await api.request('PUT', `${namespaces}/team/finalize`, { body });
    expect(answer.status).toBe(200);
    expect(await exists(`${namespaces}/team`)).toBe(false);
  });
});

describe('expiry', () => {
  const events = '/api/v1/namespaces/default/events';
  const event = (name: string) => ({
    metadata: { name },
    involvedObject: { kind: 'Pod', name: 'p', namespace: 'default' },
  });
  it('removes Events an hour after their last write', async () => {
    await create(events, event('old'));
    await create(events, event('kept'));
    await api.request('GET', events);
    api.clock.advance(1_800_000);
    const headers = { 'content-type': 'application/merge-patch+json' };
    await api.request('PATCH', `${events}/kept`, { body: { count: 2 }, headers });
    await api.request('GET', events);
    const watch = await api.watch(`${events}?watch=true&resourceVersion=3&timeoutSeconds=10000`);
    api.clock.advance(1_800_000);
    expect((await watch.next()).object.metadata.name).toBe('old');
    expect(await exists(`${events}/kept`)).toBe(true);
    api.clock.advance(1_800_000);
    expect((await watch.next()).object.metadata.name).toBe('kept');
    await watch.close();
  });
  it('goes by the times in the Events themselves after a restart', async () => {
    await create(events, event('old'));
    await create(events, { ...event('seen-again'), lastTimestamp: '2023-11-14T22:58:20Z' });
    const restarted = await startTestApi({
      store: api.store,
      clock: new ManualClock(Date.parse('2023-11-14T23:03:20Z')),
    });
    restarted.clock.advance(599_000);
    await restarted.request('GET', events);
    expect(await exists(`${events}/old`)).toBe(true);
    const watch = await restarted.watch(
      `${events}?watch=true&resourceVersion=2&timeoutSeconds=9000`,
    );
    restarted.clock.advance(1000);
    expect((await watch.next()).object.metadata.name).toBe('old');
    restarted.clock.advance(2_699_000);
    expect(await exists(`${events}/seen-again`)).toBe(true);
    restarted.clock.advance(1000);
    expect((await watch.next()).object.metadata.name).toBe('seen-again');
    await watch.close();
  });
});
