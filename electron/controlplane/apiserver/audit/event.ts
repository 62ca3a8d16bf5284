// One line of the audit log: an audit.k8s.io/v1 Event, its fields in Kubernetes' order. Pure.
// Source: kubernetes apiserver pkg/apis/audit/v1/types.go, pkg/audit/request.go.
import { exactJson } from '#kube/machinery/exact-json.ts';
import { gunzipSync } from 'node:zlib';
import type { Status } from '#kube/api/meta.ts';
import { rfc3339Micro } from '#kube/base/clock.ts';
import type { ApiRequest, ApiResponse, AuditNotes, RequestInfo, UserInfo } from '../http.ts';
import { isSliced, joined } from '../response-body.ts';
import { hasBodies, type AuditDecision, type AuditStage } from './policy.ts';

export interface Audited {
  readonly auditId: string;
  readonly decision: AuditDecision;
  readonly request: ApiRequest;
  readonly info: RequestInfo;
  readonly user: UserInfo | undefined;
  readonly notes: AuditNotes;
  /** Milliseconds since 1970, with fractions if the clock has them. */
  readonly receivedMs: number;
}

export interface Outcome {
  readonly stage: AuditStage;
  readonly atMs: number;
  /** Undefined: not yet. A Status is told in full, of all else the code alone. */
  readonly status?: Partial<Status> & { readonly code: number };
  /** The answer's body as it goes out; for level RequestResponse. */
  readonly response?: ApiResponse;
}

/** With its line end. */
export function auditLine(audited: Audited, outcome: Outcome): string {
  const { decision, request, info, user, notes } = audited;
  const { stage, status, response } = outcome;
  const isOver = stage !== 'RequestReceived';
  const head = {
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    level: decision.level,
    auditID: audited.auditId,
    stage,
    requestURI: requestUri(request),
    verb: info.verb,
    user: user === undefined ? {} : userFields(user),
    ...(notes.impersonated === undefined
      ? {}
      : { impersonatedUser: userFields(notes.impersonated) }),
    sourceIPs: sourceIps(request),
    userAgent: request.headers['user-agent'],
    ...(info.isResourceRequest ? { objectRef: objectRef(info, isOver ? notes : undefined) } : {}),
    ...(status === undefined ? {} : { responseStatus: statusFields(status) }),
  };
  const tail = {
    requestReceivedTimestamp: rfc3339Micro(audited.receivedMs),
    stageTimestamp: rfc3339Micro(outcome.atMs),
    ...(isOver && notes.decision !== undefined ? { annotations: annotationsOf(notes) } : {}),
  };
  const bodies =
    bodyField('requestObject', isOver ? notes.body : undefined, decision) +
    bodyField('responseObject', response === undefined ? undefined : textOf(response), decision);
  return `${JSON.stringify(head).slice(0, -1)}${bodies},${JSON.stringify(tail).slice(1)}\n`;
}

function bodyField(name: string, text: string | undefined, decision: AuditDecision): string {
  if (text === undefined || !hasBodies(decision.level)) return '';
  return `,"${name}":${bodyJson(text, decision)}`;
}

function bodyJson(text: string, { omitManagedFields }: AuditDecision): string {
  try {
    const value = exactJson(text);
    if (omitManagedFields) dropManagedFields(value);
    return JSON.stringify(value);
  } catch {
    // YAML, plain text such as a log's, or JSON too deep to be written again.
    return JSON.stringify(text);
  }
}

/** Of an object, and of the items of a list. */
function dropManagedFields(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  const { metadata, items } = value as { metadata?: unknown; items?: unknown };
  if (typeof metadata === 'object' && metadata !== null && 'managedFields' in metadata)
    delete metadata.managedFields;
  if (Array.isArray(items)) for (const item of items) dropManagedFields(item);
}

function textOf({ body: given, headers }: ApiResponse): string | undefined {
  const body = isSliced(given) ? joined(given) : given;
  if (typeof body === 'string') return body;
  if (!(body instanceof Uint8Array)) return undefined;
  const bytes = headers['content-encoding'] === 'gzip' ? gunzipSync(body) : Buffer.from(body);
  return bytes.toString('utf8');
}

function requestUri({ path, query }: ApiRequest): string {
  const text = query.toString();
  return text === '' ? path : `${path}?${text}`;
}

function userFields({ name, uid, groups, extra }: UserInfo) {
  return { username: name, uid, groups, extra };
}

function sourceIps({ headers, remoteAddress }: ApiRequest): string[] {
  const forwarded = (headers['x-forwarded-for'] ?? '').split(',').map((one) => one.trim());
  return [...forwarded, remoteAddress ?? ''].filter((one) => one !== '');
}

/** The body's object says what a create's URL does not. */
function objectRef(info: RequestInfo, notes: AuditNotes | undefined) {
  const { group, version, resource, subresource, namespace, name } = info;
  const { target } = notes ?? {};
  return {
    resource,
    namespace: namespace || target?.namespace,
    name: name || target?.name,
    uid: target?.uid,
    apiGroup: group || undefined,
    apiVersion: version,
    subresource: subresource || undefined,
  };
}

function statusFields({ status, message, reason, details, code }: Partial<Status>) {
  return { metadata: {}, status, message, reason, details, code };
}

function annotationsOf({ decision, annotations }: AuditNotes): Readonly<Record<string, string>> {
  return {
    ...annotations,
    'authorization.k8s.io/decision': decision?.isAllowed === true ? 'allow' : 'forbid',
    'authorization.k8s.io/reason': decision?.reason ?? '',
  };
}
