// The server's own words beside the field they are about: causes of a 422 Status → form fields.
// Pure. Nothing is lost: what belongs to no field of the form comes back as `other`.
import type { Status } from '#kube/api/meta.ts';
import type { DeployForm } from './deploy-form.ts';

/** `name`, `image`, `copies`, `ports.0`, `variables.2`, `volumes.1`, `memoryLimit`, `cpuLimit`. */
export type FormField = string;

export interface FormErrors {
  readonly fields: Readonly<Record<FormField, string>>;
  readonly other: readonly string[];
}

export const noErrors: FormErrors = { fields: {}, other: [] };

const container = String.raw`spec\.template\.spec\.containers\[0\]\.`;
const rules: readonly (readonly [pattern: RegExp, field: (match: RegExpExecArray) => FormField])[] =
  [
    [/^metadata\.name$/, () => 'name'],
    [/^metadata\.namespace$/, () => 'namespace'],
    [
      /^metadata\.labels|^spec\.(selector|template\.labels|template\.metadata\.labels)/,
      () => 'name',
    ],
    [/^spec\.template\.spec\.containers\[0\]\.name$/, () => 'name'],
    [/^spec\.replicas$/, () => 'copies'],
    [new RegExp(`^${container}image$`), () => 'image'],
    [new RegExp(String.raw`^${container}ports\[(\d+)\]`), ([, index]) => `ports.${index}`],
    [new RegExp(String.raw`^${container}env\[(\d+)\]`), ([, index]) => `variables.${index}`],
    [new RegExp(String.raw`^${container}volumeMounts\[(\d+)\]`), ([, index]) => `volumes.${index}`],
    [new RegExp(String.raw`^${container}resources\.\w+(\[|\.)memory`), () => 'memoryLimit'],
    [new RegExp(String.raw`^${container}resources\.\w+(\[|\.)cpu`), () => 'cpuLimit'],
    [/^spec\.template\.spec\.volumes\[(\d+)\]/, ([, index]) => `volumes.${index}`],
    [/^spec\.ports\[(\d+)\]/, ([, index]) => `ports.${index}`],
    [/^data/, () => 'volumes.0'],
  ];

/** One message per field: the first cause wins, as it is the most basic. */
export function formErrorsOf(status: Status, form: DeployForm): FormErrors {
  if (status.reason === 'AlreadyExists') {
    const fields = { name: `The name ${status.details?.name ?? form.name} is taken already` };
    return { fields, other: [] };
  }
  const fields: Record<FormField, string> = {};
  const other: string[] = [];
  const causes = status.details?.causes ?? [];
  for (const { field = '', message: full = '' } of causes) {
    const message = withoutExample(full);
    const limit = field === 'patch' ? quantityField(message, form) : undefined;
    if (limit !== undefined) fields[limit] ??= message;
    if (limit !== undefined) continue;
    const name = fieldOf(field, form);
    if (name === undefined) other.push(field === '' ? message : `${field}: ${message}`);
    else fields[name] ??= message;
  }
  if (causes.length === 0) {
    const limit = quantityField(status.message ?? '', form);
    if (limit === undefined) other.push(status.message ?? 'The server refused it without a reason');
    else fields[limit] = status.message ?? '';
  }
  return { fields, other };
}

export function mergeErrors(all: readonly FormErrors[]): FormErrors {
  const fields: Record<FormField, string> = {};
  for (const errors of all)
    for (const [field, message] of Object.entries(errors.fields)) fields[field] ??= message;
  return { fields, other: [...new Set(all.flatMap(({ other }) => other))] };
}

function fieldOf(path: string, form: DeployForm): FormField | undefined {
  for (const [pattern, field] of rules) {
    const match = pattern.exec(path);
    if (match !== null) return shown(field(match), form);
  }
  return undefined;
}

/** A malformed quantity is refused while decoding, before any field is named. */
function quantityField(message: string, form: DeployForm): FormField | undefined {
  if (!/quantit/i.test(message)) return undefined;
  const isQuantity = /^[+-]?\d+(\.\d*)?([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?$/;
  if (form.memoryLimit !== '' && !isQuantity.test(form.memoryLimit)) return 'memoryLimit';
  if (form.cpuLimit !== '' && !isQuantity.test(form.cpuLimit)) return 'cpuLimit';
  return undefined;
}

/** Only fields that the form has on screen: an index past its end has nowhere to show. */
function shown(field: FormField, form: DeployForm): FormField | undefined {
  const [list = '', index] = field.split('.');
  if (index === undefined) return field;
  const entries =
    list === 'ports' ? form.ports : list === 'variables' ? form.variables : form.volumes;
  return Number(index) < entries.length ? field : undefined;
}

/**
 * `…, regex used for validation is '…')` helps nobody who types a name, nor does the whole object
 * that a refused patch would have made.
 */
function withoutExample(message: string): string {
  return message
    .replace(/ \(e\.g\. .*regex used for validation is .*\)$/, '')
    .replace(/^Invalid value: "\{.*\}": /s, '');
}
