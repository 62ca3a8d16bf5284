// The facts beside an app's charts, as labelled lines. Pure.
import type { Ingress } from '#kube/api/networking.ts';
import { quantityNumber } from './amounts.ts';
import { appNames } from './app-names.ts';
import type { App } from './app.ts';
import { formatAgo, formatBytes, formatCpu, plural } from './format.ts';
import { findKept, type KeptData } from './kept-data.ts';
import type { Machine } from './machine.ts';
import { mainContainer } from './workload.ts';

export interface FactLine {
  readonly text: string;
  readonly href?: string;
  readonly isCopyable?: boolean;
}
export interface Fact {
  readonly label: string;
  readonly lines: readonly FactLine[];
}

interface FactsWorld {
  /** Where node ports answer for this browser. */
  readonly host: string;
  readonly nowMs: number;
  readonly ingresses: readonly Ingress[];
  readonly kept: readonly KeptData[];
}

export function describeFacts(
  app: App,
  machines: readonly Machine[],
  { host, nowMs, ingresses, kept }: FactsWorld,
): Fact[] {
  const reached = [...names(app, ingresses), ...addresses(app, machines, host)];
  const facts: Fact[] = [
    {
      label: 'Reached at',
      lines: reached.length > 0 ? reached : [{ text: 'Not opened to the outside' }],
    },
    { label: 'Inside the cluster', lines: innerAddresses(app) },
    { label: 'May use', lines: allowances(app) },
    { label: 'Keeps', lines: storage(app, kept) },
    {
      label: 'Deployed',
      lines: [{ text: formatAgo(app.object.metadata.creationTimestamp, nowMs) }],
    },
  ];
  return facts.filter(({ lines }) => lines.length > 0);
}

function names(app: App, ingresses: readonly Ingress[]): FactLine[] {
  const found = appNames(app.services, ingresses);
  const lines: FactLine[] = found.map(({ url }) => reachedAt(url));
  const href = found.find(({ trustUrl }) => trustUrl !== undefined)?.trustUrl;
  if (href !== undefined) lines.push({ text: "Trust this home's certificate", href });
  return lines;
}

function reachedAt(href: string): FactLine {
  return { text: href.replace(/^https?:\/\//, ''), href, isCopyable: true };
}

/** Here first, then by the machines' own addresses, for other devices of the home. */
function addresses(app: App, machines: readonly Machine[], host: string): FactLine[] {
  if (app.address === undefined) return [];
  const { url, port } = app.address;
  const others = machines
    .map(({ address }) => address)
    .filter((address) => address !== '' && address !== host && !address.startsWith('127.'))
    .map((address) => `${url.split('://')[0]}://${address}:${port}`);
  return [url, ...new Set(others)].map(reachedAt);
}

/** By number: names are only known to pods once the cluster has a DNS server. */
function innerAddresses(app: App): FactLine[] {
  return app.services
    .filter(({ spec }) => spec?.clusterIP !== undefined && spec.clusterIP !== 'None')
    .flatMap(({ spec }) =>
      (spec?.ports ?? []).map(({ port }) => ({
        text: `${spec?.clusterIP}:${port}`,
        isCopyable: true,
      })),
    );
}

function allowances(app: App): FactLine[] {
  const { limits = {} } = mainContainer(app.object)?.resources ?? {};
  const memory = quantityNumber(limits['memory']);
  const cpu = quantityNumber(limits['cpu']);
  const parts: string[] = [];
  if (memory > 0) parts.push(`${formatBytes(memory)} of memory`);
  if (cpu > 0) parts.push(cpu < 1 ? `${formatCpu(cpu * 1e9)} of a core` : plural(cpu, 'core'));
  if (parts.length === 0) return [{ text: 'As much as the machine has' }];
  return [{ text: `${parts.join(' and ')}, each copy` }];
}

function storage(app: App, kept: readonly KeptData[]): FactLine[] {
  const spec = app.object.spec?.template?.spec;
  const mounts = mainContainer(app.object)?.volumeMounts ?? [];
  return mounts.flatMap(({ name, mountPath }): FactLine[] => {
    const volume = spec?.volumes?.find((one) => one.name === name);
    if (volume?.hostPath !== undefined)
      return [{ text: `${mountPath}, in ${volume.hostPath.path} on its machine` }];
    if (volume?.persistentVolumeClaim !== undefined) {
      const { claimName } = volume.persistentVolumeClaim;
      const node = findKept(kept, app.namespace, claimName)?.node;
      return [
        { text: `${mountPath}, kept${node === undefined ? '' : ` on ${node}`} as ${claimName}` },
      ];
    }
    if (volume?.emptyDir !== undefined) return [{ text: `${mountPath}, until the copy ends` }];
    if (volume?.configMap !== undefined) return [{ text: `${mountPath}, a text of its settings` }];
    if (volume?.secret !== undefined) return [{ text: `${mountPath}, a secret` }];
    return [];
  });
}
