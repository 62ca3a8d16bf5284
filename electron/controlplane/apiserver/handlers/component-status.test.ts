import { expect, it, describe, beforeEach, afterEach } from 'vitest';
import { startTestApi, type TestApi } from '../../../../test/setup/api.ts';

const url = '/api/v1/componentstatuses';
const table = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' };

let api: TestApi;
let problem: string | undefined;
beforeEach(async () => {
  problem = undefined;
  api = await startTestApi({ storeProblem: () => problem });
});
afterEach(() => api.stop());

describe('component statuses', () => {
  it('are three, in the order in which people know them', async () => {
    const { json } = await api.request('GET', url, { headers: table });
    expect(json.rows.map(({ cells }: { cells: unknown }) => cells)).toEqual([
      ['scheduler', 'Healthy', 'ok', ''],
      ['controller-manager', 'Healthy', 'ok', ''],
      ['etcd-0', 'Healthy', 'ok', ''],
    ]);
  });

  it('can be asked for by name and by field', async () => {
    const { json } = await api.request('GET', `${url}/etcd-0`);
    expect(json.conditions).toEqual([{ type: 'Healthy', status: 'True', message: 'ok' }]);
    const { json: list } = await api.request('GET', `${url}?fieldSelector=metadata.name=scheduler`);
    expect(list.items).toHaveLength(1);
    const { status } = await api.request('GET', `${url}/etcd-1`);
    expect(status).toBe(404);
    const wrong = await api.request('GET', `${url}?fieldSelector=spec.x=1`);
    expect(wrong.status).toBe(400);
  });

  it('say why the store does not answer', async () => {
    problem = 'no majority';
    const { json } = await api.request('GET', `${url}/etcd-0`, { headers: table });
    expect(json.rows[0].cells).toEqual(['etcd-0', 'Unhealthy', 'no majority', 'no majority']);
  });
});
