// Before a machine is cleared: its copy of the cluster's state is to count no more. Whoever leads decides whether the others
// can do without it, and says why not. One that leads itself hands over first, so it is asked for some time.
import { delay, type Clock } from '#kube/base/clock.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import { nodes } from '#kube/client/resources.ts';
import type { Transport } from '#kube/client/transport.ts';
import { packageSourceAnnotation } from '#kube/machinery/control-planes.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { messageOf } from '../error-message.ts';

export interface LeaveGroupDeps {
  readonly nodeName: string;
  /** API servers to ask who leads, in this order. */
  readonly servers: readonly string[];
  readonly to: <T>(server: string, use: (transport: Transport) => Promise<T>) => Promise<T>;
  readonly clock: Clock;
}

/** As long as a leader takes to be found, and to tell where it is. */
const tries = { count: 12, everyMs: 2_500 };

/** What there is to say. Throws in words when it still counts. */
export async function leaveGroup(deps: LeaveGroupDeps): Promise<string> {
  const { clock, nodeName } = deps;
  let why = '';
  for (let left = tries.count; left > 0; left--) {
    try {
      await deps.to(await leaderOf(deps), ask);
      return `${nodeName} keeps no copy of the cluster's state any more`;
    } catch (error) {
      if (error instanceof RefusedError) throw error;
      why = messageOf(error);
    }
    await delay(clock, tries.everyMs);
  }
  throw new Error(`nobody who leads could be asked to let ${nodeName} go: ${why}`);
}

class RefusedError extends Error {
  override readonly name = 'RefusedError';
}

/** By the Node, on which the one that leads names itself. */
async function leaderOf({ nodeName, servers, to }: LeaveGroupDeps): Promise<string> {
  let last: unknown = new Error('there is nobody to ask');
  for (const server of servers) {
    try {
      return await to(server, async (transport) => {
        const client = new RestClient({ transport, userAgent: 'kubelet/flotilla-agent-leaving' });
        const node = await client.get(nodes, { name: nodeName }).catch(unlessMissing);
        return node?.metadata.annotations?.[packageSourceAnnotation] ?? server;
      });
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

function unlessMissing(error: unknown): undefined {
  if (!hasReason(error, 'NotFound')) throw error;
}

async function ask(transport: Transport): Promise<void> {
  const path = '/flotilla/machines/leave';
  const { status, body } = await transport.request({ method: 'POST', path, headers: {} });
  if (status === 200) return;
  const text = new TextDecoder().decode(body);
  const message = /"message":"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? text.slice(0, 500);
  // It leads no more: whoever does is asked next.
  const isPassing = status >= 500 || message.includes('ask again');
  throw isPassing ? new Error(message) : new RefusedError(message);
}
