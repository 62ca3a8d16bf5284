// Creating the objects of an app in order, and taking them back. What an attempt created is known by
// uid, so that nothing else of the same name is ever taken away.
import type { KubeObject } from '#kube/api/object.ts';
import type { Resource } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { hasReason, StatusError } from '#kube/machinery/status.ts';
import { failureText } from './actions.ts';
import { resourceOf } from './discovery.ts';

export interface Created {
  readonly resource: Resource;
  readonly object: KubeObject;
}

/** What of an attempt could be neither finished nor taken back; the cause is why it stopped. */
export class LeftoverError extends Error {
  override readonly name = 'LeftoverError';
  readonly left: readonly string[];

  constructor(left: readonly string[], cause: unknown) {
    const isOne = left.length === 1;
    super(`${left.join(' and ')} ${isOne ? 'was' : 'were'} created and could not be taken back`, {
      cause,
    });
    this.left = left;
  }
}

/** All or nothing: throws what refused an object, after taking back those before it. */
export async function createAll(
  client: RestClient,
  objects: readonly KubeObject[],
  report: (share: number) => void,
): Promise<Created[]> {
  const created: Created[] = [];
  try {
    for (const object of objects) {
      const resource = await resourceOf(client, object);
      const made = await client.create(resource, object, { fieldManager: 'flotilla' });
      created.push({ resource, object: made });
      report(created.length / objects.length);
    }
  } catch (error) {
    const left = await takeBack(client, created);
    if (left.length > 0) throw new LeftoverError(left.map(nameOf), error);
    throw error;
  }
  return created;
}

/** Newest first. Answers those that could not be deleted, for another try. */
export async function takeBack(
  client: RestClient,
  created: readonly Created[],
): Promise<(Created & { readonly why: string })[]> {
  const left: (Created & { why: string })[] = [];
  for (const one of created.toReversed()) {
    const { uid } = one.object.metadata;
    try {
      await client.delete(one.resource, one.object.metadata, {
        propagationPolicy: 'Background',
        ...(uid !== undefined && { preconditions: { uid } }),
      });
    } catch (error) {
      if (!hasReason(error, 'NotFound') && !hasReason(error, 'Conflict'))
        left.unshift({ ...one, why: failureText(error) });
    }
  }
  return left;
}

export type Write = (isDryRun: boolean) => Promise<unknown>;

const serverErrors = 500;

/** A write of what refers to these objects: when the server refuses it, they are of no use. */
export function createdFirst(
  client: RestClient,
  objects: readonly KubeObject[],
  write: Write,
): Write {
  return async (dryRun) => {
    if (dryRun) {
      for (const object of objects)
        await client.create(await resourceOf(client, object), object, { dryRun });
      return await write(dryRun);
    }
    const made = await createAll(client, objects, () => undefined);
    try {
      return await write(dryRun);
    } catch (error) {
      // Without a clear no, something may use them already.
      if (!(error instanceof StatusError) || error.code >= serverErrors) throw error;
      const left = await takeBack(client, made);
      throw left.length === 0 ? error : new LeftoverError(left.map(nameOf), error);
    }
  };
}

function nameOf({ object }: Created): string {
  return `${object.kind} ${object.metadata.name}`;
}
