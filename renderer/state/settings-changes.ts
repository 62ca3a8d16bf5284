// What would change between two forms, line by line, in words. Pure.
import { claimOf, type DeployForm, type PortEntry, type VolumeEntry } from './deploy-form.ts';

export interface SettingChange {
  readonly label: string;
  readonly before: string;
  readonly after: string;
  /** Whether copies are replaced for it. */
  readonly isRestart: boolean;
}

export function describeChanges(before: DeployForm, after: DeployForm): SettingChange[] {
  const changes: SettingChange[] = [];
  function compare(label: string, from: string, to: string, isRestart = true): void {
    if (from !== to) changes.push({ label, before: from, after: to, isRestart });
  }
  compare('Image', before.image, after.image);
  compare('Copies', String(before.copies), String(after.copies), false);
  compare('Memory limit', before.memoryLimit, after.memoryLimit);
  compare('Processor limit', before.cpuLimit, after.cpuLimit);
  const old = new Map(before.variables.map(({ name, value }) => [name, value]));
  const next = new Map(
    after.variables.filter(({ name }) => name !== '').map(({ name, value }) => [name, value]),
  );
  for (const name of new Set([...old.keys(), ...next.keys()]))
    compare(`Variable ${name}`, textOf(name, old.get(name)), textOf(name, next.get(name)));
  const portsBefore = new Map(before.ports.map((entry) => [entry.port, portText(entry)]));
  const portsAfter = new Map(
    after.ports.map((entry) => {
      // Which outside port it is, is the cluster's choice unless somebody made one.
      const earlier = before.ports.find(({ port }) => port === entry.port);
      return [entry.port, portText({ ...entry, nodePort: entry.nodePort ?? earlier?.nodePort })];
    }),
  );
  for (const port of new Set([...portsBefore.keys(), ...portsAfter.keys()])) {
    if (port === undefined) continue;
    const isKept = portsBefore.has(port) && portsAfter.has(port);
    compare(`Port ${port}`, portsBefore.get(port) ?? '', portsAfter.get(port) ?? '', !isKept);
  }
  compareStorage(before, after, compare);
  return changes;
}

type Compare = (label: string, from: string, to: string) => void;

function compareStorage(
  { name, volumes: before }: DeployForm,
  { volumes: after }: DeployForm,
  compare: Compare,
): void {
  const paths = new Set([...before, ...after].map(({ mountPath }) => mountPath));
  for (const path of paths) {
    const from = before.find(({ mountPath }) => mountPath === path);
    const to = after.find(({ mountPath }) => mountPath === path);
    compare(`Storage ${path}`, storageText(name, from), storageText(name, to));
    if (from?.kind === 'config' && to?.kind === 'config')
      compare(`Text of ${path}`, from.text, to.text);
  }
}

function portText({ isPublished, nodePort }: PortEntry): string {
  if (!isPublished) return 'inside the cluster only';
  return nodePort === undefined ? 'open to your home' : `open to your home at ${nodePort}`;
}

function storageText(app: string, entry: VolumeEntry | undefined): string {
  switch (entry?.kind) {
    case 'data':
      return `data, kept as ${claimOf(app, entry)}`;
    case 'folder':
      return `folder ${entry.hostPath}`;
    case 'scratch':
      return 'scratch space';
    case 'config':
      return `text ${entry.fileName}`;
    case undefined:
      return '';
  }
}

function textOf(name: string, value: string | undefined): string {
  return value === undefined ? '' : `${name}=${value}`;
}
