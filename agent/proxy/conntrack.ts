// The kernel's memory of UDP exchanges. UDP has no end that it could see: a client that keeps sending
// keeps its vanished endpoint, or the nothing that was there before the Service. Which entries those
// are is decided purely; entries of other traffic are never touched.
// Source: kubernetes pkg/proxy/conntrack/cleanup.go.
import type { ApplyProblem } from './applier.ts';
import type { ServicePortRule } from './rules.ts';
import { firstLine, type ProxySystem } from './system.ts';

export interface UdpEntry {
  /** Where the client sends to. */
  readonly address: string;
  readonly port: number;
  /** Who answers. */
  readonly endpoint: string;
}

/** More wait for the kernel's own timeout. */
const maxForgotten = 256;

/** Forgets what has no future. Nothing to do is no command at all. */
export async function forgetUdp(
  system: ProxySystem,
  rules: readonly ServicePortRule[],
): Promise<readonly ApplyProblem[]> {
  const udp = rules.filter(({ protocol }) => protocol === 'udp');
  if (udp.length === 0) return [];
  const listed = await system.run('conntrack', ['--dump', '--proto', 'udp']);
  if (listed.exitCode === undefined)
    return [
      {
        message:
          'UDP clients of an endpoint that goes keep it until the kernel forgets them (two minutes after their last packet): the conntrack command is missing; install the package conntrack.',
      },
    ];
  if (listed.exitCode !== 0)
    return [{ message: `UDP clients can't be looked at: conntrack: ${firstLine(listed)}.` }];
  const entries = parseEntries(listed.stdout);
  for (const entry of staleEntries(entries, udp, system.addresses()).slice(0, maxForgotten))
    await system.run('conntrack', deletion(entry));
  return [];
}

function deletion({ address, port, endpoint }: UdpEntry): readonly string[] {
  const to = ['--orig-dst', address, '--orig-port-dst', String(port)];
  return ['--delete', '--proto', 'udp', ...to, '--reply-src', endpoint];
}

/** Each once. The tool writes both directions after each other: `src= dst= sport= dport=`, twice. */
export function parseEntries(text: string): readonly UdpEntry[] {
  const found = new Map<string, UdpEntry>();
  for (const line of text.split('\n')) {
    const [, address, answerer] = [...line.matchAll(/\b(?:src|dst)=(\S+)/g)].map(([, v]) => v);
    const port = /\bdport=(\d+)/.exec(line)?.[1];
    if (address === undefined || answerer === undefined || port === undefined) continue;
    found.set(`${address} ${port} ${answerer}`, {
      address,
      port: Number(port),
      endpoint: answerer,
    });
  }
  return [...found.values()];
}

/**
 * Differs: Kubernetes keeps the entries of a Service that has no endpoint left; here its clients are
 * refused at once, as new ones are. And node ports count at this node's own addresses only.
 */
export function staleEntries(
  entries: readonly UdpEntry[],
  udp: readonly ServicePortRule[],
  ownAddresses: readonly string[],
): readonly UdpEntry[] {
  const serving = new Map<string, readonly string[]>();
  for (const rule of udp) {
    for (const ip of [...rule.clusterIps, ...rule.externalIps, ...rule.balancerIps])
      serving.set(`${ip}:${rule.port}`, rule.serving);
    if (rule.nodePort === undefined) continue;
    for (const ip of ownAddresses) serving.set(`${ip}:${rule.nodePort}`, rule.serving);
  }
  return entries.filter(({ address, port, endpoint }) => {
    const endpoints = serving.get(`${address}:${port}`);
    return endpoints !== undefined && !endpoints.includes(endpoint);
  });
}
