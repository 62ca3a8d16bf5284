// The server's own words beside the field they are about: causes of a 422 Status → form fields.
// Pure. Nothing is lost: what belongs to no field of the form comes back as `other`.
import type { Status } from '#kube/api/meta.ts';
import { claimOf, type DeployForm, isData, isPort, isVariable } from './deploy-form.ts';
import { errorWords } from './error-words.ts';

/** `name`, `image`, `copies`, `ports.0`, `variables.2`, `volumes.1`, `memoryLimit`, `cpuLimit`. */
export type FormField = string;

export interface FormErrors {
  readonly fields: Readonly<Record<FormField, string>>;
  readonly other: readonly string[];
}

export const noErrors: FormErrors = { fields: {}, other: [] };

const container = String.raw`^spec\.template\.spec\.containers\[0\]\.`;
const names = /^metadata\.(name$|labels)|^spec\.(selector|template\.(metadata\.)?labels)/;
const rules: readonly (readonly [pattern: RegExp, field: FormField])[] = [
  [names, 'name'],
  [new RegExp(`${container}name$`), 'name'],
  [/^metadata\.namespace$/, 'namespace'],
  [/^spec\.replicas$/, 'copies'],
  [new RegExp(`${container}image$`), 'image'],
  [new RegExp(String.raw`${container}resources\.\w+(\[|\.)memory`), 'memoryLimit'],
  [new RegExp(String.raw`${container}resources\.\w+(\[|\.)cpu`), 'cpuLimit'],
];

/** Lists of objects, and the rows of the form that each entry came from: blank rows have none. */
const lists: readonly {
  readonly pattern: RegExp;
  readonly list: 'ports' | 'variables' | 'volumes';
  readonly rows: (form: DeployForm, objectName: string) => readonly number[];
}[] = [
  { pattern: new RegExp(String.raw`${container}ports\[(\d+)\]`), list: 'ports', rows: portRows },
  { pattern: /^spec\.ports\[(\d+)\]/, list: 'ports', rows: servicePortRows },
  {
    pattern: new RegExp(String.raw`${container}env\[(\d+)\]`),
    list: 'variables',
    rows: ({ variables }) => indexes(variables, isVariable),
  },
  {
    pattern: new RegExp(String.raw`${container}volumeMounts\[(\d+)\]`),
    list: 'volumes',
    rows: ({ volumes }) => indexes(volumes, () => true),
  },
  { pattern: /^spec\.template\.spec\.volumes\[(\d+)\]/, list: 'volumes', rows: volumeRows },
];

/** One message per field: the first cause wins, as it is the most basic. */
export function formErrorsOf(status: Status, form: DeployForm): FormErrors {
  if (status.reason === 'AlreadyExists') {
    const taken = takenData(status, form);
    if (taken !== undefined) return taken;
    const fields = { name: `The name ${status.details?.name ?? form.name} is taken already` };
    return { fields, other: [] };
  }
  const fields: Record<FormField, string> = {};
  const other: string[] = [];
  const causes = status.details?.causes ?? [];
  for (const { field = '', message: full = '' } of causes) {
    const message = errorWords(field, full);
    const limit = field === 'patch' ? quantityField(full, form) : undefined;
    if (limit !== undefined) fields[limit] ??= message;
    if (limit !== undefined) continue;
    const name = fieldOf(field, form, status.details?.name ?? form.name);
    if (name === undefined) other.push(field === '' ? message : `${field}: ${message}`);
    else fields[name] ??= message;
  }
  if (causes.length === 0) {
    const limit = quantityField(status.message ?? '', form);
    if (limit === undefined) other.push(status.message ?? 'The server refused it without a reason');
    else fields[limit] = errorWords('', status.message ?? '');
  }
  return { fields, other };
}

/** Never taken up unasked: what an earlier app kept may be of another version, or somebody's only copy. */
function takenData({ details, message = '' }: Status, form: DeployForm): FormErrors | undefined {
  const { kind = '', name = '' } = details ?? {};
  if (!/^persistentvolumeclaims?$/i.test(kind)) return undefined;
  const row = form.volumes.findIndex((one) => isData(one) && claimOf(form.name, one) === name);
  const words = message.includes('is being deleted')
    ? `The data ${name} is being removed: wait for it, or start with new data`
    : `There is data called ${name} already: choose whether to go on with it or to start anew`;
  return row === -1
    ? { fields: {}, other: [words] }
    : { fields: { [`volumes.${row}`]: words }, other: [] };
}

export function mergeErrors(all: readonly FormErrors[]): FormErrors {
  const fields: Record<FormField, string> = {};
  for (const errors of all)
    for (const [field, message] of Object.entries(errors.fields)) fields[field] ??= message;
  return { fields, other: [...new Set(all.flatMap(({ other }) => other))] };
}

/** A row that was just added is empty, not wrong. */
export function touchedErrors(errors: FormErrors, touched: ReadonlySet<FormField>): FormErrors {
  const fields = Object.entries(errors.fields).filter(([field]) => touched.has(field));
  return { fields: Object.fromEntries(fields), other: errors.other };
}

function fieldOf(path: string, form: DeployForm, objectName: string): FormField | undefined {
  for (const [pattern, field] of rules) if (pattern.test(path)) return field;
  for (const { pattern, list, rows } of lists) {
    const index = pattern.exec(path)?.[1];
    if (index === undefined) continue;
    const row = rows(form, objectName)[Number(index)];
    return row === undefined ? undefined : `${list}.${row}`;
  }
  return configField(path, form);
}

/** `data[file name]` of the ConfigMap that holds all configuration texts. */
function configField(path: string, { volumes }: DeployForm): FormField | undefined {
  if (!path.startsWith('data')) return undefined;
  const fileName = /^data\[(.*)\]$/.exec(path)?.[1];
  const isThis = volumes.findIndex((one) => one.kind === 'config' && one.fileName === fileName);
  const row = isThis === -1 ? volumes.findIndex(({ kind }) => kind === 'config') : isThis;
  return row === -1 ? undefined : `volumes.${row}`;
}

function portRows({ ports }: DeployForm): number[] {
  return indexes(ports, isPort);
}

/** Published ports and inner ones are of two services. */
function servicePortRows({ name, ports }: DeployForm, service: string): number[] {
  const published = indexes(ports, (one) => isPort(one) && one.isPublished);
  const inner = indexes(ports, (one) => isPort(one) && !one.isPublished);
  return published.length === 0 || service === `${name}-internal` ? inner : published;
}

/** All configuration texts share one volume, which stands where the first of them does. */
function volumeRows({ volumes }: DeployForm): number[] {
  const firstConfig = volumes.findIndex(({ kind }) => kind === 'config');
  return indexes(volumes, (one, row) => one.kind !== 'config' || row === firstConfig);
}

function indexes<T>(entries: readonly T[], has: (entry: T, index: number) => boolean): number[] {
  return entries.flatMap((entry, index) => (has(entry, index) ? [index] : []));
}

/** A malformed quantity is refused while decoding, before any field is named. */
function quantityField(message: string, form: DeployForm): FormField | undefined {
  if (!/quantit/i.test(message)) return undefined;
  const isQuantity = /^[+-]?\d+(\.\d*)?([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?$/;
  if (form.memoryLimit !== '' && !isQuantity.test(form.memoryLimit)) return 'memoryLimit';
  if (form.cpuLimit !== '' && !isQuantity.test(form.cpuLimit)) return 'cpuLimit';
  return undefined;
}
