// The simplest bad bodies through the whole chain, admission and all: each gets a proper answer.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { StatusError } from '#kube/machinery/status.ts';
import {
  apiVersionOfResource,
  supportsVerb,
} from '../../electron/controlplane/registry/resource-table.ts';
import { builtInResources } from '../../electron/controlplane/registry/resources.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeAll(async () => {
  sim = await startControlPlane();
});
afterAll(() => sim.stop());

const created = builtInResources.filter((definition) => supportsVerb(definition, 'create'));
const paths = [
  ...created.map((definition) => {
    const { group, plural, namespaced } = definition;
    const version = apiVersionOfResource(definition);
    const base = group === '' ? `/api/${version}` : `/apis/${version}`;
    return `${base}${namespaced ? '/namespaces/default' : ''}/${plural}`;
  }),
  '/api/v1/namespaces/default/serviceaccounts/default/token',
  '/api/v1/namespaces/default/pods/nosuch/eviction',
  '/api/v1/namespaces/default/pods/nosuch/binding',
];
const metadata = { name: 'bare' };
const bodies: readonly object[] = [
  {},
  { metadata: null, spec: null },
  { metadata: {}, spec: {} },
  { metadata },
  { metadata, spec: null, status: null },
  { metadata, spec: {} },
  { metadata, spec: { containers: [{ name: 'a', image: 'b' }], volumes: [null] } },
  { metadata, spec: { template: {} } },
  { metadata, spec: { template: { spec: null } } },
  { metadata: { ...metadata, namespace: {} } },
];

/** The code and message of the answer. */
async function answerTo(method: 'POST' | 'PATCH', path: string, body: object): Promise<string> {
  const isApply = method === 'PATCH';
  const headers = {
    'content-type': isApply ? 'application/apply-patch+yaml' : 'application/json',
  };
  const query = isApply ? { query: { fieldManager: 'test' } } : {};
  try {
    await sim.client.raw({ method, path, headers, ...query, body: JSON.stringify(body) });
    return 'taken';
  } catch (error) {
    if (error instanceof StatusError) return `${error.status.code} ${error.message}`;
    throw error;
  }
}

describe('a body with next to nothing in it', () => {
  it.each(paths)('gets a proper answer at %s', async (path) => {
    const bad: string[] = [];
    const ask = async (method: 'POST' | 'PATCH', url: string, body: object): Promise<void> => {
      const answer = await answerTo(method, url, body);
      if (!/^(taken|4\d\d .*\S)/.test(answer) || answer.includes('[object'))
        bad.push(`${method} ${JSON.stringify(body)}: ${answer}`);
    };
    for (const body of bodies) await ask('POST', path, body);
    const definition = created.find(({ plural }) => path.endsWith(`/${plural}`));
    if (definition !== undefined && definition.review === undefined) {
      const { kind } = definition;
      const apiVersion = apiVersionOfResource(definition);
      for (const body of bodies) await ask('PATCH', `${path}/bare`, { apiVersion, kind, ...body });
    }
    expect(bad).toEqual([]);
  });
});
