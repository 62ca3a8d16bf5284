// A packet between two pods of one machine is bridged, not routed, and passes no rule of ours unless the kernel
// hands bridged packets to them (br_netfilter). Docker up to 27 loads that module and switches it on for all bridges;
// since 28 it does neither. Then it is switched on for the pods' bridge alone: other bridges of this machine (virtual
// machines') stay as they were.
// Not a table of family bridge: it knows connections only with nf_conntrack_bridge, which not every kernel has, and which
// does not go with br_netfilter, that Docker may load at any time.
import { allBridgesFile, hasBridgeNetfilter, ownBridgeFile } from '../proxy/surroundings.ts';
import { firstLine, type ProxySystem } from '../proxy/system.ts';

const siblings = ['iptables', 'ip6tables', 'arptables'];

/** Why packets between pods of this machine pass no rules; undefined: they do, or there is no bridge yet. */
export async function openBridge(system: ProxySystem, bridge: string): Promise<string | undefined> {
  const own = ownBridgeFile(bridge);
  if ((await system.readText(`/sys/class/net/${bridge}/bridge/bridge_id`)) === undefined)
    return undefined;
  if (await hasBridgeNetfilter({ system, bridge })) return undefined;
  const why = await loadModule(system);
  if (why !== undefined) return why;
  if (await system.writeText(own, '1\n')) return undefined;
  return `${own} can't be written`;
}

async function loadModule(system: ProxySystem): Promise<string | undefined> {
  if ((await system.readText(allBridgesFile)) !== undefined) return undefined;
  const result = await system.run('modprobe', ['br_netfilter']);
  if ((await system.readText(allBridgesFile)) === undefined)
    return `this machine's kernel has no br_netfilter (modprobe: ${firstLine(result) || 'it is not there'})`;
  // It begins with all bridges.
  for (const name of siblings)
    await system.writeText(`/proc/sys/net/bridge/bridge-nf-call-${name}`, '0\n');
  return undefined;
}
