// Bodies made from each kind's schema, through the whole chain with admission: any of them gets a
// proper 4xx Status or is stored in a form that stays as it is. Never a 500, never no answer.
// FUZZ_RUNS and FUZZ_SEED make it try more.
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serviceAccounts } from '#kube/client/resources.ts';
import { arbitraryChange, arbitraryObject, type Change, type Json } from '../setup/fuzz-bodies.ts';
import { sampleOf } from '../setup/samples.ts';
import {
  apiVersionOfResource,
  supportsVerb,
} from '../../electron/controlplane/registry/resource-table.ts';
import { builtInResources } from '../../electron/controlplane/registry/resources.ts';
import type { ResourceDefinition } from '../../electron/controlplane/registry/resource.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 6);
const seed = process.env['FUZZ_SEED'];
const options = { numRuns, ...(seed === undefined ? {} : { seed: Number(seed) }) };

const kinds = builtInResources
  .filter((definition) => supportsVerb(definition, 'create'))
  .map((definition) => ({
    definition,
    name: `${apiVersionOfResource(definition)} ${definition.kind}`,
  }));

let sim: SimulatedControlPlane;
beforeAll(async () => {
  sim = await startControlPlane({ withoutControllers: true });
  const metadata = { name: 'default', namespace: 'default' };
  await sim.client.create(serviceAccounts, { apiVersion: 'v1', kind: 'ServiceAccount', metadata });
});
afterAll(() => sim.stop());

interface Answer {
  readonly status: number;
  readonly json: Json;
}

interface Request {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** What no sentence for people has in it. */
const leftover = /undefined|\[object [A-Z]|NaN|Cannot read|is not a function|not iterable/;

/** The answer, which is of the form every answer has to have. */
async function ask({ body, ...request }: Request): Promise<Answer> {
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };
  const answer = await sim.transport.request({ ...request, ...sent });
  const json: Json = JSON.parse(new TextDecoder().decode(answer.body));
  if (answer.status < 400) return { status: answer.status, json };
  expect(json).toMatchObject({ kind: 'Status', status: 'Failure', code: answer.status });
  expect(answer.status, json.message).toBeLessThan(500);
  expect(json.message).toMatch(/\S/);
  expect(json.message).not.toMatch(leftover);
  expect(json.reason).toMatch(/\S/);
  if (json.reason === 'Invalid' && json.message.includes(' is invalid: '))
    expect(json.details.causes.length).toBeGreaterThan(0);
  return { status: answer.status, json };
}

function collectionOf(definition: ResourceDefinition): string {
  const version = apiVersionOfResource(definition);
  const base = definition.group === '' ? `/api/${version}` : `/apis/${version}`;
  return `${base}${definition.namespaced ? '/namespaces/default' : ''}/${definition.plural}`;
}

/** It reads as what it was answered to be, in every shape, and writing that changes nothing. */
async function expectCanonical(path: string, stored: Json): Promise<void> {
  const { json } = await ask({ method: 'GET', path });
  expect(json).toEqual(stored);
  await expectShapes(path, json);
  const strict = { fieldValidation: 'Strict' };
  const put = await ask({ method: 'PUT', path, query: strict, body: json });
  expect(put.json).toEqual(json);
  const { managedFields: _, resourceVersion: __, ...metadata } = json.metadata;
  const applying = {
    method: 'PATCH',
    path,
    query: { fieldManager: 'fuzz', force: 'true' },
    headers: { 'content-type': 'application/apply-patch+yaml' },
    body: { ...json, metadata },
  } as const;
  const applied = await ask(applying);
  // Kubernetes, too, stores lists whose keys repeat or are left out, and can't apply them.
  if (applied.status === 400 && /duplicate entries|element that omits/.test(applied.json.message))
    return;
  expect(withoutOwners(applied.json)).toEqual(withoutOwners(json));
  expect((await ask(applying)).json).toEqual(applied.json);
}

function withoutOwners({ metadata, ...rest }: Json): Json {
  const { managedFields: _, resourceVersion: __, ...kept } = metadata ?? {};
  return { ...rest, metadata: kept };
}

async function expectShapes(path: string, { metadata }: Json): Promise<void> {
  const as = (shape: string) => ({ accept: `application/json;as=${shape};v=v1;g=meta.k8s.io` });
  const table = await ask({ method: 'GET', path, headers: as('Table') });
  expect(table.json.rows[0].cells.length).toBe(table.json.columnDefinitions.length);
  for (const cell of table.json.rows[0].cells) expect(String(cell)).not.toMatch(leftover);
  const partial = await ask({ method: 'GET', path, headers: as('PartialObjectMetadata') });
  expect(partial.json.metadata).toEqual(metadata);
}

async function change(path: string, { subresource, body, ...request }: Change): Promise<void> {
  const { json: before } = await ask({ method: 'GET', path });
  const whole = request.method === 'PUT' ? { ...before, ...body, metadata: before.metadata } : body;
  const answer = await ask({ ...request, path: `${path}${subresource}`, body: whole });
  if (answer.status >= 400) {
    expect((await ask({ method: 'GET', path })).json).toEqual(before);
    return;
  }
  const after = await ask({ method: 'GET', path });
  if (after.status === 200 && answer.json.kind === before.kind)
    expect(after.json).toEqual(answer.json);
}

async function remove(path: string): Promise<void> {
  const { status, json } = await ask({ method: 'DELETE', path, body: { gracePeriodSeconds: 0 } });
  if (status === 404) return;
  expect(status, json.message).toBeLessThan(300);
}

describe('any body', () => {
  it.each(kinds)(
    'of $name is refused by name or stored, and so is any change',
    { timeout: 60_000 + numRuns * 2000 },
    async ({ definition }) => {
      const path = collectionOf(definition);
      const apiVersion = apiVersionOfResource(definition);
      const sample = definition.review ? undefined : sampleOf(apiVersion, definition.kind);
      const bodies = arbitraryObject(definition, sample as Json);
      const changes = fc.array(arbitraryChange(definition), { maxLength: 3 });
      const lives = fc.asyncProperty(bodies, changes, async (body, then) => {
        const { status, json } = await ask({ method: 'POST', path, body });
        if (status >= 400 || definition.review !== undefined) return;
        const url = `${path}/${json.metadata.name}`;
        await expectCanonical(url, json);
        for (const one of then) {
          await change(url, one);
          const { status: found, json: now } = await ask({ method: 'GET', path: url });
          if (found === 200) await expectCanonical(url, now);
        }
        await remove(url);
      });
      await fc.assert(lives, options);
    },
  );
});
