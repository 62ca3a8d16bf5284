// The last that a machine tells its cluster: that it was taken out, and what it cleared away or left. The control plane deletes the
// Node then. Said with credentials that were read before they were cleared away.
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import { nodes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import {
  operationAnnotation,
  operationOf,
  operationText,
  type Operation,
} from '#kube/machinery/node-operations.ts';

export interface LastWordDeps {
  readonly client: RestClient;
  readonly nodeName: string;
  /** Something is still there. */
  readonly isFailed: boolean;
  /** A line for each thing that was done or left. */
  readonly lines: readonly string[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** An annotation is no log. */
const mostCharacters = 2_000;

/** Throws when the API server can't be asked, or refuses. */
export async function sayLastWord(deps: LastWordDeps): Promise<void> {
  const { client, nodeName, isFailed, lines, clock, signal } = deps;
  const node = await client.get(nodes, { name: nodeName }, { signal });
  // By hand, nobody asked for it here before.
  const asked = operationOf(node);
  const id = asked?.action === 'Remove' ? asked.id : 'by-hand';
  const told: Operation = {
    id,
    action: 'Remove',
    state: isFailed ? 'Failed' : 'Removed',
    since: rfc3339(clock.now()),
    message: lines.join('\n').slice(-mostCharacters),
  };
  const { uid } = node.metadata;
  const annotations = { [operationAnnotation]: operationText(told) };
  await client.patch(nodes, { name: nodeName }, { metadata: { uid, annotations } }, { signal });
}
