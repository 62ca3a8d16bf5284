// A sweep: each address of the networks a person agreed to is asked once for SSH, some at a time.
import { formatIpv4, parseIpv4Network } from '#kube/machinery/ipv4.ts';
import type { SshAnswer } from './addable.ts';

const atOnce = 64;

/** Without the network's own address and its broadcast, where it has them. */
export function sweepAddresses(networks: readonly string[]): readonly string[] {
  const addresses = new Set<string>();
  for (const text of networks) {
    const network = parseIpv4Network(text);
    if (network === undefined) continue;
    const spare = network.prefixLength >= 31 ? 0 : 1;
    for (let number = network.first + spare; number <= network.last - spare; number++)
      addresses.add(formatIpv4(number));
  }
  return [...addresses];
}

/** Resolves when all were asked, or `signal` aborts. */
export async function sweep(
  addresses: readonly string[],
  ask: (address: string) => Promise<SshAnswer>,
  onFound: (address: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const queue = addresses.values();
  const work = async (): Promise<void> => {
    for (const address of queue) {
      if (signal.aborted) return;
      if ((await ask(address)).type === 'greeting') onFound(address);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}
