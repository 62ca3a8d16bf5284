// Errors and small documents as answers: `kind: Status` for every error, with Retry-After where it
// says so. What is not a StatusError becomes one: 500, and nothing of the stack leaves the server.
// Source: kubernetes apiserver pkg/endpoints/handlers/responsewriters/{status,writers}.go.
import { StatusError } from '#kube/machinery/status.ts';
import type { ApiResponse } from './http.ts';

export function jsonResponse(
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): ApiResponse {
  return {
    status,
    headers: { 'content-type': 'application/json', ...headers },
    body: `${JSON.stringify(body)}\n`,
  };
}

export function textResponse(status: number, text: string): ApiResponse {
  return {
    status,
    headers: { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' },
    body: text,
  };
}

export function statusResponse(error: StatusError): ApiResponse {
  const retryAfterSeconds = error.status.details?.retryAfterSeconds ?? 0;
  const headers: Record<string, string> = { 'cache-control': 'no-cache, private' };
  if (retryAfterSeconds > 0) headers['retry-after'] = String(retryAfterSeconds);
  return jsonResponse(error.code, error.status, headers);
}
