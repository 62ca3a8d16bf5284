// Operating errors as clients see them: `kind: Status`, one constructor per reason.
// Only this file makes them. Source: kubernetes apimachinery pkg/api/errors/errors.go.
import type { GroupVersionKind } from '../api/object.ts';
import type { Status, StatusCause, StatusDetails } from '../api/meta.ts';
import { fieldErrorText, type FieldError } from './field.ts';

/** An error that is an answer: thrown by servers, and by clients that received one. */
export class StatusError extends Error {
  override readonly name = 'StatusError';
  readonly status: Status;

  constructor(status: Status) {
    super(status.message ?? status.reason ?? 'unknown error');
    this.status = status;
  }

  get code(): number {
    return this.status.code ?? 500;
  }

  get reason(): string {
    return this.status.reason ?? '';
  }
}

interface Resource {
  readonly group: string;
  readonly resource: string;
}
type GroupKind = Pick<GroupVersionKind, 'group' | 'kind'>;

function make(code: number, reason: string, message: string, info?: StatusDetails): StatusError {
  const status: Status = {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason,
    code,
  };
  if (info !== undefined) status.details = info;
  return new StatusError(status);
}

/** `deployments.apps`, or `pods` for core. */
export function qualifiedResource(resource: Resource): string {
  return resource.group === '' ? resource.resource : `${resource.resource}.${resource.group}`;
}

function details(resource: Resource, name: string, causes?: StatusCause[]): StatusDetails {
  const result: StatusDetails = { kind: resource.resource };
  if (name !== '') result.name = name;
  if (resource.group !== '') result.group = resource.group;
  if (causes !== undefined) result.causes = causes;
  return result;
}

export function notFound(resource: Resource, name: string): StatusError {
  const message = `${qualifiedResource(resource)} "${name}" not found`;
  return make(404, 'NotFound', message, details(resource, name));
}

/** A path that leads nowhere. */
export function pageNotFound(): StatusError {
  return make(404, 'NotFound', 'the server could not find the requested resource', {});
}

export function alreadyExists(resource: Resource, name: string): StatusError {
  const message = `${qualifiedResource(resource)} "${name}" already exists`;
  return make(409, 'AlreadyExists', message, details(resource, name));
}

/** A create meets an object that is on its way out. */
export function alreadyExistsDeleting(resource: Resource, name: string): StatusError {
  const message = `object is being deleted: ${qualifiedResource(resource)} "${name}" already exists`;
  return make(409, 'AlreadyExists', message, details(resource, name));
}

/** Every name made of a generateName was taken. */
export function generateNameConflict(resource: Resource, name: string): StatusError {
  const message = `${qualifiedResource(resource)} "${name}" already exists, the server was not able to generate a unique name for the object`;
  const info = { ...details(resource, name), retryAfterSeconds: 1 };
  return make(409, 'AlreadyExists', message, info);
}

export function conflict(resource: Resource, name: string, why: string): StatusError {
  const message = `Operation cannot be fulfilled on ${qualifiedResource(resource)} "${name}": ${why}`;
  return make(409, 'Conflict', message, details(resource, name));
}

/** A configuration would change fields that others own; one cause for each. */
export function applyConflict(message: string, causes: StatusCause[]): StatusError {
  return make(409, 'Conflict', message, { causes });
}

export const staleMessage =
  'the object has been modified; please apply your changes to the latest version and try again';

export function invalid(kind: GroupKind, name: string, errors: readonly FieldError[]): StatusError {
  const qualified = kind.group === '' ? kind.kind : `${kind.kind}.${kind.group}`;
  const texts = [...new Set(errors.map(fieldErrorText))];
  const body = texts.length === 1 ? (texts[0] ?? '') : `[${texts.join(', ')}]`;
  const causes = errors.map((e) => ({ reason: e.type, message: e.message, field: e.field }));
  const info: StatusDetails = { kind: kind.kind, causes };
  if (name !== '') info.name = name;
  if (kind.group !== '') info.group = kind.group;
  return make(422, 'Invalid', `${qualified} "${name}" is invalid: ${body}`, info);
}

export function badRequest(message: string): StatusError {
  return make(400, 'BadRequest', message);
}

export function unauthorized(): StatusError {
  return make(401, 'Unauthorized', 'Unauthorized');
}

export function forbidden(resource: Resource, name: string, why: string): StatusError {
  const object =
    name === '' ? qualifiedResource(resource) : `${qualifiedResource(resource)} "${name}"`;
  return make(403, 'Forbidden', `${object} is forbidden: ${why}`, details(resource, name));
}

export function forbiddenPath(why: string): StatusError {
  return make(403, 'Forbidden', `forbidden: ${why}`, {});
}

export function methodNotAllowed(resource: Resource, action: string): StatusError {
  const message = `${action} is not supported on resources of kind "${qualifiedResource(resource)}"`;
  return make(405, 'MethodNotAllowed', message, details(resource, ''));
}

export function notAcceptable(accepted: readonly string[]): StatusError {
  const message = `only the following media types are accepted: ${accepted.join(', ')}`;
  return make(406, 'NotAcceptable', message);
}

/** The path exists, but not for this method. */
export function methodNotAllowedHere(): StatusError {
  const message = 'the server does not allow this method on the requested resource';
  return make(405, 'MethodNotAllowed', message, {});
}

/** A node's agent answered with a status that has no constructor of its own here. */
export function kubeletFailure(
  code: number,
  resource: Resource,
  name: string,
  text: string,
): StatusError {
  const message = `an error on the server (${JSON.stringify(text)}) has prevented the request from succeeding`;
  const causes = [{ reason: 'UnexpectedServerResponse', message: text }];
  return make(code, 'InternalError', message, { ...details(resource, name, causes) });
}

/** An error that Kubernetes passes on without a reason of its own. */
export function unknownFailure(message: string): StatusError {
  return make(500, '', message);
}

export function unsupportedMediaType(given: string, accepted: readonly string[]): StatusError {
  const message =
    given === ''
      ? `the request did not specify a content type, accepted media types include: ${accepted.join(', ')}`
      : `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`;
  return make(415, 'UnsupportedMediaType', message);
}

export function requestTooLarge(limitBytes: number): StatusError {
  return entityTooLarge(`limit is ${limitBytes}`);
}

/** 413: a body within the limit that asks for more than one request may have. */
export function entityTooLarge(why: string): StatusError {
  return make(413, 'RequestEntityTooLarge', `Request entity too large: ${why}`);
}

/** 413: YAML that takes more time or memory to read than one request may have. */
export function bodyTooCostly(): StatusError {
  return entityTooLarge(
    'reading this YAML takes more time or memory than one request may have; send it as JSON, or in ' +
      'smaller parts',
  );
}

/** 410: history before is gone; the client has to list again. */
export function expired(message: string): StatusError {
  return make(410, 'Expired', message);
}

/** 504: the client asked for a resourceVersion that does not exist yet. */
export function resourceVersionTooLarge(asked: string, current: string): StatusError {
  const message = `Timeout: Too large resource version: ${asked}, current: ${current}`;
  return make(504, 'Timeout', message, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
}

export function timeout(message: string, retryAfterSeconds = 0): StatusError {
  return make(504, 'Timeout', `Timeout: ${message}`, { retryAfterSeconds });
}

export function tooManyRequests(
  message: string,
  retryAfterSeconds: number,
  causes?: StatusCause[],
): StatusError {
  const info: StatusDetails = retryAfterSeconds === 0 ? {} : { retryAfterSeconds };
  if (causes !== undefined) info.causes = causes;
  return make(429, 'TooManyRequests', message, info);
}

/** With 0 clients are not asked to try again by themselves. */
export function serviceUnavailable(message: string, retryAfterSeconds = 1): StatusError {
  return make(503, 'ServiceUnavailable', message, { retryAfterSeconds });
}

export function insufficientStorage(message: string): StatusError {
  return make(507, 'InsufficientStorage', message);
}

export function internalError(error: unknown): StatusError {
  const text = error instanceof Error ? error.message : String(error);
  return make(500, 'InternalError', `Internal error occurred: ${text}`, {
    causes: [{ message: text }],
  });
}

export function hasReason(error: unknown, reason: string): boolean {
  return error instanceof StatusError && error.reason === reason;
}

/**
 * 422 for a request that is well-formed but can't be carried out, such as a patch that fails. As in
 * Kubernetes the Status does not say why: `detail` is the error's cause.
 */
export function unprocessable(detail: string): StatusError {
  const message = 'the server rejected our request due to an error in our request';
  const error = make(422, 'Invalid', message, {});
  error.cause = new Error(detail);
  return error;
}
