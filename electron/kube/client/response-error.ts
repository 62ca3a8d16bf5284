// Turns an answer that is not a success into a StatusError: the server's own Status when it sent
// one, else one made from the HTTP status (proxies, broken servers).
// Source: kubernetes apimachinery pkg/api/errors/errors.go NewGenericServerResponse.
import type { Status } from '../api/meta.ts';
import { StatusError } from '../machinery/status.ts';
import type { TransportResponse } from './transport.ts';

const reasons: Readonly<Record<number, readonly [reason: string, message: string]>> = {
  400: ['BadRequest', 'the server rejected our request for an unknown reason'],
  401: ['Unauthorized', 'the server has asked for the client to provide credentials'],
  403: ['Forbidden', 'unknown'],
  404: ['NotFound', 'the server could not find the requested resource'],
  405: ['MethodNotAllowed', 'the server does not allow this method on the requested resource'],
  406: ['NotAcceptable', 'unknown'],
  409: ['Conflict', 'the server reported a conflict'],
  415: ['UnsupportedMediaType', 'unknown'],
  422: ['Invalid', 'the server rejected our request due to an error in our request'],
  429: ['TooManyRequests', 'unknown'],
  500: ['InternalError', 'an error on the server has prevented the request from succeeding'],
  503: ['ServiceUnavailable', 'the server is currently unable to handle the request'],
  504: ['Timeout', 'the server was unable to return a response in the time allotted'],
};

export function errorOfResponse(response: TransportResponse): StatusError {
  const status = parseStatus(response.body) ?? genericStatus(response);
  status.code ??= response.status;
  const retryAfterSeconds = Number(response.headers['retry-after']);
  if (retryAfterSeconds > 0 && status.details?.retryAfterSeconds === undefined)
    status.details = { ...status.details, retryAfterSeconds };
  return new StatusError(status);
}

export function isStatus(value: unknown): value is Status {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'Status';
}

function parseStatus(body: Uint8Array): Status | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(body));
    return isStatus(value) ? value : undefined;
  } catch {
    // Not JSON: the caller falls back on the HTTP status.
    return undefined;
  }
}

function genericStatus(response: TransportResponse): Status {
  const text = new TextDecoder().decode(response.body.subarray(0, 2048)).trim();
  const [reason, message] = reasons[response.status] ?? [
    response.status >= 500 ? 'InternalError' : 'Unknown',
    `the server responded with the status code ${response.status} ` +
      'but did not return more information',
  ];
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason,
    code: response.status,
    details: text === '' ? {} : { causes: [{ reason: 'UnexpectedServerResponse', message: text }] },
  };
}
