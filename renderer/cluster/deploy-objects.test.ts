import { describe, expect, it } from 'vitest';
import type { KubeObject } from '#kube/api/object.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { StatusError } from '#kube/machinery/status.ts';
import { createdFirst } from './deploy-objects.ts';

const claim: KubeObject = {
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: { name: 'web-data', namespace: 'default' },
};
const resources = [
  { name: 'persistentvolumeclaims', kind: 'PersistentVolumeClaim', namespaced: true },
];

/** Notes what is written; deletes fail when `isStuck`. */
function server({ isStuck = false } = {}) {
  const written: string[] = [];
  const client = {
    json: ({ path }: { path: string }) =>
      Promise.resolve(path === '/apis' ? { groups: [] } : { groupVersion: 'v1', resources }),
    create: (_: unknown, object: KubeObject, { dryRun = false }: { dryRun?: boolean }) => {
      written.push(`${dryRun ? 'try' : 'create'} ${object.metadata.name}`);
      return Promise.resolve({ ...object, metadata: { ...object.metadata, uid: 'uid-1' } });
    },
    delete: (
      _: unknown,
      { name }: { name: string },
      { preconditions }: { preconditions: object },
    ) => {
      written.push(`delete ${name} ${JSON.stringify(preconditions)}`);
      return isStuck ? Promise.reject(new Error('the line is cut')) : Promise.resolve();
    },
  } as unknown as RestClient;
  return { client, written };
}

function refusal(code: number): StatusError {
  return new StatusError({ kind: 'Status', code, reason: 'Conflict', message: 'no' });
}

describe('createdFirst', () => {
  it('tries everything without making anything', async () => {
    const { client, written } = server();
    await createdFirst(client, [claim], () => Promise.resolve(written.push('try app')))(true);
    expect(written).toEqual(['try web-data', 'try app']);
  });

  const cases = [
    { name: 'refused', error: refusal(409), isTakenBack: true },
    { name: 'lost in a server that failed', error: refusal(504), isTakenBack: false },
    { name: 'lost on the way', error: new Error('the line is cut'), isTakenBack: false },
  ];
  it.each(cases)('a write that is $name: taken back is $isTakenBack', async (given) => {
    const { client, written } = server();
    const write = createdFirst(client, [claim], () => Promise.reject(given.error));
    await expect(write(false)).rejects.toBe(given.error);
    const gone = given.isTakenBack ? ['delete web-data {"uid":"uid-1"}'] : [];
    expect(written).toEqual(['create web-data', ...gone]);
  });

  it('tells what it could not take back', async () => {
    const { client } = server({ isStuck: true });
    const write = createdFirst(client, [claim], () => Promise.reject(refusal(409)));
    await expect(write(false)).rejects.toThrow(
      'PersistentVolumeClaim web-data was created and could not be taken back',
    );
  });
});
