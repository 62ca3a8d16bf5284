// What is sent to a webhook, and what its answer means. Pure.
// Source: kubernetes apiserver pkg/admission/plugin/webhook/{request,errors}.
import { isObject } from '#kube/machinery/equality.ts';
import { parseJson } from '#kube/machinery/json.ts';
import { badRequest, StatusError } from '#kube/machinery/status.ts';
import type { Status } from '#kube/api/meta.ts';

const group = 'admission.k8s.io';
const known = ['v1', 'v1beta1'];

/** The first of the webhook's versions that is known. Validation lets no configuration without one by. */
export function reviewVersion(versions: readonly string[]): string {
  return versions.find((version) => known.includes(version)) ?? 'v1';
}

export function admissionReview(version: string, request: object): object {
  return { kind: 'AdmissionReview', apiVersion: `${group}/${version}`, request };
}

export interface WebhookAnswer {
  readonly isAllowed: boolean;
  readonly result: Partial<Status> | undefined;
  /** Of JSON Patch; none: nothing is to be changed. */
  readonly patch: readonly unknown[];
  readonly warnings: readonly string[];
  readonly auditAnnotations: Readonly<Record<string, string>>;
}

interface Expected {
  readonly uid: string;
  readonly version: string;
  readonly mayPatch: boolean;
}

/** Throws an Error that says what is wrong with it. */
export function readAnswer(review: unknown, { uid, version, mayPatch }: Expected): WebhookAnswer {
  const { kind = '', apiVersion = '', response } = isObject(review) ? review : {};
  // v1beta1 was lenient: what it left out is taken to be right.
  const isStrict = version === 'v1';
  if (!isObject(response)) throw new Error('webhook response was absent');
  if (isStrict && response['uid'] !== uid)
    throw new Error(`expected response.uid=${quoted(uid)}, got ${quoted(response['uid'] ?? '')}`);
  const wanted = `${group}/${version}, Kind=AdmissionReview`;
  const given = `${textOf(apiVersion)}, Kind=${textOf(kind)}`;
  if (isStrict && given !== wanted)
    throw new Error(`expected webhook response of ${wanted}, got ${given}`);
  return {
    isAllowed: response['allowed'] === true,
    result: isObject(response['status']) ? response['status'] : undefined,
    patch: readPatch(response, { isStrict, mayPatch }),
    warnings: Array.isArray(response['warnings']) ? response['warnings'].map(textOf) : [],
    auditAnnotations: textsOf(response['auditAnnotations']),
  };
}

function readPatch(
  { patch = null, patchType = null }: Record<string, unknown>,
  { isStrict, mayPatch }: { readonly isStrict: boolean; readonly mayPatch: boolean },
): readonly unknown[] {
  const hasPatch = typeof patch === 'string' && patch !== '';
  if (!mayPatch) {
    if (isStrict && hasPatch) throw new Error('validating webhook may not return response.patch');
    if (isStrict && patchType !== null)
      throw new Error('validating webhook may not return response.patchType');
    return [];
  }
  if (isStrict && hasPatch && patchType === null)
    throw new Error('webhook returned response.patch but not response.patchType');
  if (isStrict && !hasPatch && patchType !== null)
    throw new Error('webhook returned response.patchType but not response.patch');
  if (patchType === '') throw new Error('webhook returned invalid response.patchType of ""');
  if (!hasPatch) return [];
  if (patchType !== null && patchType !== 'JSONPatch')
    throw new Error(`unsupported patch type ${quoted(patchType)}`);
  const { value } = parseJson(Buffer.from(patch, 'base64').toString());
  if (!Array.isArray(value)) throw new Error('response.patch is no list of operations');
  return value as readonly unknown[];
}

function textsOf(value: unknown): Record<string, string> {
  if (!isObject(value)) return {};
  return Object.fromEntries(
    Object.entries(value).map(([key, text]) => [key, textOf(text)] as const),
  );
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function quoted(value: unknown): string {
  return JSON.stringify(value);
}

/** What a client is told of a refusal: the webhook's own status, never one that looks like success. */
export function rejection(webhook: string, result: Partial<Status> | undefined): StatusError {
  const deniedBy = `admission webhook "${webhook}" denied the request`;
  const { message = '', reason = '', code = 0, status = '', ...rest } = result ?? {};
  const why = message !== '' ? message : reason;
  return new StatusError({
    ...rest,
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: status === '' || status === 'Success' ? 'Failure' : status,
    message: why === '' ? `${deniedBy} without explanation` : `${deniedBy}: ${why}`,
    ...(reason === '' ? {} : { reason }),
    code: Number.isInteger(code) && code >= 400 && code <= 599 ? code : 400,
  });
}

export function dryRunUnsupported(webhook: string): StatusError {
  return badRequest(`admission webhook "${webhook}" does not support dry run`);
}
