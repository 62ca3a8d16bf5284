// Pure: where a node's agent can be reached, in the order to try.
import type { Node } from '../api/core.ts';

const types = ['InternalIP', 'ExternalIP', 'Hostname'];

export function nodeAddresses({ status }: Node): string[] {
  const addresses = status?.addresses ?? [];
  return types.flatMap((type) =>
    addresses.filter((entry) => entry.type === type).map(({ address }) => address),
  );
}
