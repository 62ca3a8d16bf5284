// Pure: an external address and port that two Services name leads to the first of them by name, on all machines (the proxy's
// rule, agent/proxy/table-content.ts): the other is told, as nobody would look for it on a Node.
import type { Service } from '#kube/api/core.ts';
import { keyOf } from '#kube/client/resources.ts';
import { balancedPorts } from '#kube/machinery/balancers.ts';

export function namesExternal({ spec }: Service): boolean {
  return (spec.externalIPs ?? []).length > 0;
}

/** What this one does not get, as sentences. */
export function externalClaims(service: Service, all: readonly Service[]): readonly string[] {
  const key = keyOf(service);
  const before = all.filter((other) => namesExternal(other) && keyOf(other) < key);
  return claimsOf(service).flatMap((claim) => {
    const rival = before.find((other) => claimsOf(other).includes(claim));
    return rival === undefined
      ? []
      : [
          `${claim} leads to the Service ${keyOf(rival)}, which names it, too: choose another address or port for one of them`,
        ];
  });
}

/** `203.0.113.5:80/tcp` each. */
function claimsOf(service: Service): readonly string[] {
  const { externalIPs = [] } = service.spec;
  return externalIPs.flatMap((address) =>
    balancedPorts(service).map((port) => `${address}:${port}`),
  );
}
