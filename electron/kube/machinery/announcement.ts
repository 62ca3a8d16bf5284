// How a machine of a cluster tells the home that it is one, by DNS service discovery: what agents say, and what the search
// for machines takes from it. Pure. It proves nothing: whoever says it only keeps itself from being added.
// Source: RFC 6763 sections 4 (services), 6 (TXT records).
import { isDns1123Subdomain } from './names.ts';

export const announcedType = '_flotilla._tcp.local';

export interface Announcement {
  /** The uid of its namespace kube-system. */
  readonly clusterId: string;
  readonly nodeName: string;
}

/** `pi-1-3f2a91c4._flotilla._tcp.local`: nobody else's, in whichever cluster. */
export function instanceName({ clusterId, nodeName }: Announcement): string {
  const label = nodeName.replaceAll('.', '-').slice(0, 50);
  return `${label}-${clusterId.slice(0, 8)}.${announcedType}`;
}

export function announcedTexts({ clusterId, nodeName }: Announcement): readonly string[] {
  return [`cluster=${clusterId}`, `node=${nodeName}`];
}

/** Undefined: it is not one, or not such as an agent of ours says. */
export function readAnnouncement(name: string, texts: readonly string[]): Announcement | undefined {
  if (!name.toLowerCase().endsWith(`.${announcedType}`)) return undefined;
  const value = (key: string): string =>
    texts.find((text) => text.startsWith(`${key}=`))?.slice(key.length + 1) ?? '';
  const [clusterId, nodeName] = [value('cluster'), value('node')];
  const isWellFormed = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(clusterId);
  if (!isWellFormed || isDns1123Subdomain(nodeName).length > 0) return undefined;
  return { clusterId, nodeName };
}
