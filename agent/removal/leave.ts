// Tells the cluster that a machine has left it, as far as the node itself may: nothing is to be put on it any
// more, and its pods have ended, so that others can take their place now and not in five minutes. The Node
// object stays, for a person to delete.
import { delay, rfc3339, type Clock } from '#kube/base/clock.ts';
import { nodes, pods } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { hasReason } from '#kube/machinery/status.ts';

export interface LeaveDeps {
  readonly client: RestClient;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const taint = 'node.kubernetes.io/not-ready';
/** Until the control plane keeps new pods away; a moment, where there is one that works. */
const taintWait = { everyMs: 100, tries: 30 };

/** How many pods were taken out of the API. Throws when the API server can't be asked, or refuses. */
export async function leaveCluster(deps: LeaveDeps): Promise<number> {
  const { client, nodeName, signal } = deps;
  if (await isToldNotReady(deps)) await untilTainted(deps);
  const selector = { fieldSelector: `spec.nodeName=${nodeName}` };
  const { items } = await client.list(pods, { ...selector, signal });
  for (const { metadata } of items) {
    const { namespace, name, uid } = metadata;
    const options = { gracePeriodSeconds: 0, preconditions: { uid }, signal };
    await client.delete(pods, { namespace, name }, options).catch((error: unknown) => {
      // Somebody was faster, or another of its name is elsewhere by now.
      if (!hasReason(error, 'NotFound') && !hasReason(error, 'Conflict')) throw error;
    });
  }
  return items.length;
}

/** False: there is no such Node. */
async function isToldNotReady({ client, nodeName, clock, signal }: LeaveDeps): Promise<boolean> {
  try {
    const { status } = await client.get(nodes, { name: nodeName }, { signal });
    const now = rfc3339(clock.now());
    const others = (status?.conditions ?? []).filter(({ type }) => type !== 'Ready');
    const ready = {
      type: 'Ready',
      status: 'False',
      reason: 'NodeRemoved',
      message:
        'this machine was taken out of the cluster; delete the Node, or start its agent anew',
      lastHeartbeatTime: now,
      lastTransitionTime: now,
    };
    const patch = { status: { conditions: [...others, ready] } };
    await client.patch(nodes, { name: nodeName }, patch, { subresource: 'status', signal });
    return true;
  } catch (error) {
    if (hasReason(error, 'NotFound')) return false;
    throw error;
  }
}

async function untilTainted({ client, nodeName, clock, signal }: LeaveDeps): Promise<void> {
  for (let left = taintWait.tries; left > 0; left--) {
    const { spec } = await client.get(nodes, { name: nodeName }, { signal });
    if (spec?.taints?.some(({ key }) => key === taint) === true) return;
    await delay(clock, taintWait.everyMs, signal);
  }
}
