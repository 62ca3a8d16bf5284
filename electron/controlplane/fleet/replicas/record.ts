// Whom the leader chose to keep the state, kept in a ConfigMap that only it may write, so that the next leader knows: by
// node name. And how many copies a person wants, in another one.
import type { ConfigMap } from '#kube/api/core.ts';
import { configMaps } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { recordName, recordNamespace, settingsName } from '#kube/machinery/control-planes.ts';
import { hasReason } from '#kube/machinery/status.ts';
import type { Chosen } from './plan.ts';

type Objects = Pick<RestClient, 'get' | 'create' | 'update'>;

const states: readonly string[] = ['chosen', 'member', 'failed'] satisfies Chosen['state'][];
const standardCopies = 3;

/** From the server, not from a cache: what was decided a moment ago counts. */
export async function readRecord(client: Objects): Promise<ReadonlyMap<string, Chosen>> {
  return chosenIn(await find(client, recordName));
}

/** Nothing happens when somebody else wrote since it was read: throws Conflict. `chosen` undefined: forgets it. */
export async function writeRecord(
  client: Objects,
  name: string,
  chosen: Chosen | undefined,
): Promise<void> {
  const found = await find(client, recordName);
  const { [name]: _, ...data } = found?.data ?? {};
  if (chosen !== undefined) data[name] = JSON.stringify(chosen);
  if (found !== undefined) await client.update(configMaps, { ...found, data });
  else
    await client.create(configMaps, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { namespace: recordNamespace, name: recordName },
      data,
    });
}

/** 1, 3 or 5. */
export async function readWanted(client: Objects): Promise<number> {
  const wanted = Number((await find(client, settingsName))?.data?.['replicas'] ?? standardCopies);
  return [1, 3, 5].includes(wanted) ? wanted : standardCopies;
}

export function chosenIn(record: ConfigMap | undefined): ReadonlyMap<string, Chosen> {
  const entries = Object.entries(record?.data ?? {}).flatMap(([name, text]) => {
    const chosen = parse(text);
    return chosen === undefined ? [] : [[name, chosen] as const];
  });
  return new Map(entries);
}

/** Undefined: a person wrote something else there. */
function parse(text: string): Chosen | undefined {
  try {
    const { uid, state, sinceMs, why } = JSON.parse(text) as Partial<Chosen>;
    if (typeof uid !== 'string' || typeof sinceMs !== 'number') return undefined;
    if (state === undefined || !states.includes(state)) return undefined;
    return { uid, state, sinceMs, ...(typeof why === 'string' && { why }) };
  } catch {
    return undefined;
  }
}

async function find(client: Objects, name: string): Promise<ConfigMap | undefined> {
  try {
    return await client.get(configMaps, { namespace: recordNamespace, name });
  } catch (error) {
    if (hasReason(error, 'NotFound')) return undefined;
    throw error;
  }
}
