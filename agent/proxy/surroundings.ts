// What our table needs around it: route_localnet on the pods' bridge, hairpins on its ports, leave for
// our traffic to pass Docker's own firewall. Of Docker's chains only DOCKER-USER is touched, which is
// made for that; of anybody else's nothing.
import type { ApplyProblem } from './applier.ts';
import { firstLine, type ProxySystem } from './system.ts';
import { externalMark } from './table-content.ts';

export interface Surroundings {
  readonly system: ProxySystem;
  readonly table: string;
  readonly bridge: string;
}

function loopbackFile({ bridge }: Surroundings): string {
  return `/proc/sys/net/ipv4/conf/${bridge}/route_localnet`;
}

/** Undefined while there is no bridge. */
export async function readLoopback(here: Surroundings): Promise<string | undefined> {
  return (await here.system.readText(loopbackFile(here)))?.trim();
}

/** Lets packets from 127.0.0.1 leave by the bridge. False when that can't be. */
export async function openLoopback(here: Surroundings): Promise<boolean> {
  if ((await readLoopback(here)) === '1') return true;
  return here.system.writeText(loopbackFile(here), '1\n');
}

/** Without our rules pods could reach what listens on this machine's 127.0.0.1 only. */
export async function closeLoopback(here: Surroundings): Promise<void> {
  if ((await readLoopback(here)) === '1') await here.system.writeText(loopbackFile(here), '0\n');
}

/** Of all bridges, or of this one (agent/policy/bridge-filter.ts). */
export async function hasBridgeNetfilter({
  system,
  bridge,
}: Pick<Surroundings, 'system' | 'bridge'>): Promise<boolean> {
  const files = [allBridgesFile, ownBridgeFile(bridge)];
  // The second is there, too, on a kernel whose module is not loaded.
  const [all, own] = await Promise.all(files.map((file) => system.readText(file)));
  return all !== undefined && (all.trim() === '1' || own?.trim() === '1');
}

export const allBridgesFile = '/proc/sys/net/bridge/bridge-nf-call-iptables';

export function ownBridgeFile(bridge: string): string {
  return `/sys/class/net/${bridge}/bridge/nf_call_iptables`;
}

/**
 * With bridge netfilter, a packet translated back to its own pod is bridged, not routed, and a
 * bridge does not send a frame out of the port it came by unless told so. Ports of pods that
 * start later are opened when their endpoints arrive.
 */
export async function openHairpins({ system, bridge }: Surroundings): Promise<void> {
  const folder = `/sys/class/net/${bridge}/brif`;
  for (const port of await system.listFolder(folder)) {
    const file = `${folder}/${port}/hairpin_mode`;
    const current = await system.readText(file);
    if (current?.trim() === '0') await system.writeText(file, '1\n');
  }
}

/**
 * Docker drops forwarded packets it did not ask for; an accept in our table can't overrule that.
 * No DOCKER-USER chain, no such firewall.
 */
export async function passDockerFirewall(here: Surroundings): Promise<readonly ApplyProblem[]> {
  const { system } = here;
  const chain = await system.run('iptables', ['--wait', '--list-rules', 'DOCKER-USER']);
  if (chain.exitCode !== 0) return [];
  for (const rule of dockerRules(here)) {
    const check = await system.run('iptables', ['--wait', '--check', ...rule]);
    if (check.exitCode === 0) continue;
    const insert = await system.run('iptables', ['--wait', '--insert', ...rule]);
    if (insert.exitCode === 0) continue;
    const why = firstLine(insert);
    return [{ message: `Docker's firewall keeps NodePorts from other machines: ${why}.` }];
  }
  return [];
}

export async function leaveDockerFirewall(here: Surroundings): Promise<void> {
  for (const rule of dockerRules(here))
    await here.system.run('iptables', ['--wait', '--delete', ...rule]);
}

/**
 * The first packet of a connection carries our mark; those that follow, either way, would meet
 * Docker's isolation of its bridges from each other.
 */
function dockerRules({ bridge, table }: Surroundings): string[][] {
  const established = ['-m', 'conntrack', '--ctstate', 'ESTABLISHED'];
  const matches = [
    ['-m', 'mark', '--mark', `${externalMark}/${externalMark}`],
    ['-i', bridge, ...established],
    ['-o', bridge, ...established],
  ];
  const comment = ['-m', 'comment', '--comment', `flotilla ${table}`];
  return matches.map((match) => ['DOCKER-USER', ...match, ...comment, '-j', 'ACCEPT']);
}
