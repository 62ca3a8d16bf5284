// Nodes whose certificate ended while they were off: for a year in a cupboard, say. Its key is still theirs and nobody else's, so it may
// ask for the next one, and do nothing else. Whom the API server lets in for that and who approves it agree on this.
import type { Node } from '../api/core.ts';

/** Of whoever came with such a certificate, and of nobody else: they are in no other group of nodes. */
export const lapsedGroup = 'flotilla:lapsed-nodes';
/** Of such a user, as extra: from when that certificate was good, in ms. */
export const goodFromKey = 'flotilla.dev/certificate-from';

/** Certificates are dated back a little, or a day where a control plane wrote them for its own machine. */
const datedBackMs = 24 * 3_600_000;

/**
 * Why it gets no other certificate; undefined: it does. A machine that was taken out of the cluster does not come back by an old
 * disk, nor does one whose name another has by now.
 */
export function lapsedRefusal(
  userName: string,
  goodFromMs: number,
  node: Node | undefined,
): string | undefined {
  const name = userName.replace(/^system:node:/, '');
  const again = 'add the machine again';
  if (node === undefined)
    return `the certificate of ${name} has ended, and no node of this cluster has that name any more: ${again}`;
  const sinceMs = Date.parse(node.metadata.creationTimestamp ?? '');
  if (!(goodFromMs + datedBackMs >= sinceMs))
    return `the certificate of ${name} has ended, and is older than the node that has the name now: ${again}`;
  return undefined;
}
