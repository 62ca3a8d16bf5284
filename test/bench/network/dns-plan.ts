// What the DNS servers of this benchmark, ours and the peer, both know, and are asked.
export const serviceCount = 1_000;

export const serviceName = (index: number): string =>
  `web-${index % serviceCount}.default.svc.cluster.local`;
export const headlessName = 'db.default.svc.cluster.local';
export const foreignName = (index: number): string => `host-${index % 100}.example`;
