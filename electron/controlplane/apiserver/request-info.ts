// What a URL and method mean: verb, group, version, namespace, resource, name, subresource.
// Everything after the chain's first filters goes by this, never by the URL again, so that what was
// authorized is what is done.
// Source: kubernetes apiserver pkg/endpoints/request/requestinfo.go.
import { parseFieldSelector } from '#kube/machinery/field-selector.ts';
import { badRequest, StatusError } from '#kube/machinery/status.ts';
import type { ApiRequest, RequestInfo } from './http.ts';

type Target = Pick<ApiRequest, 'method' | 'path' | 'query'>;

/** Throws a 400 StatusError when a segment is not properly percent-encoded or hides a slash. */
export function parseRequestInfo(request: Target): RequestInfo {
  // Within the path an empty segment is a name that nothing has.
  const segments = trimSlashes(request.path).split('/');
  const [prefix, ...rest] = segments;
  if (prefix === 'api' && rest.length >= 2) {
    const [version = '', ...tail] = rest;
    return resourceInfo(request, { group: '', version: decode(version) }, tail);
  }
  if (prefix === 'apis' && rest.length >= 3) {
    const [group = '', version = '', ...tail] = rest;
    return resourceInfo(request, { group: decode(group), version: decode(version) }, tail);
  }
  return {
    isResourceRequest: false,
    verb: request.method.toLowerCase(),
    path: request.path,
    group: '',
    version: '',
    namespace: '',
    resource: '',
    subresource: '',
    name: '',
    rest: [],
  };
}

/** Not by an expression: one would look again at each slash of a long row of them. */
export function trimSlashes(path: string): string {
  let from = 0;
  let to = path.length;
  while (path[from] === '/') from++;
  while (to > from && path[to - 1] === '/') to--;
  return path.slice(from, to);
}

/** Subresources of a namespace itself; anything else behind its name is a resource inside it. */
const namespaceSubresources: ReadonlySet<string> = new Set(['status', 'finalize']);

function resourceInfo(
  request: Target,
  target: { readonly group: string; readonly version: string },
  tail: readonly string[],
): RequestInfo {
  let segments = tail;
  // The old form of watching: /api/v1/watch/namespaces/default/pods.
  const isWatchPath = segments[0] === 'watch' && segments.length > 1;
  if (isWatchPath) segments = segments.slice(1);
  let namespace = '';
  if (segments[0] === 'namespaces' && segments.length > 1) {
    namespace = decode(segments[1] ?? '');
    if (segments.length > 2 && !namespaceSubresources.has(segments[2] ?? ''))
      segments = segments.slice(2);
  }
  const [resource = '', pathName = '', subresource = '', ...rest] = segments;
  const verb = isWatchPath ? 'watch' : resourceVerb(request, pathName !== '');
  const isCollection = verb === 'list' || verb === 'watch' || verb === 'deletecollection';
  const name =
    pathName === '' && isCollection
      ? (requiredFieldValue(request.query.get('fieldSelector'), 'metadata.name') ?? '')
      : decode(pathName);
  return {
    isResourceRequest: true,
    verb,
    path: request.path,
    ...target,
    namespace,
    resource: decode(resource),
    subresource: decode(subresource),
    name,
    rest,
  };
}

function resourceVerb(request: Target, hasName: boolean): string {
  switch (request.method) {
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return hasName ? 'delete' : 'deletecollection';
    case 'GET':
    case 'HEAD':
      if (hasName) return 'get';
      return isTrue(request.query.get('watch')) ? 'watch' : 'list';
    case 'OPTIONS':
      return '';
  }
}

/** A boolean of the query: everything but `false` and `0` counts as true, also the empty text. */
export function isTrue(text: string | null): boolean {
  return text !== null && text.toLowerCase() !== 'false' && text !== '0';
}

/** The value a field selector demands of `field`; undefined when it demands none. */
export function requiredFieldValue(selector: string | null, field: string): string | undefined {
  if (selector === null || selector === '') return undefined;
  try {
    return parseFieldSelector(selector).exactValue(field);
  } catch (error) {
    // The handler parses it again and tells the client what is wrong with it.
    if (error instanceof StatusError) return undefined;
    throw error;
  }
}

function decode(segment: string): string {
  const decoded = tryDecode(segment);
  if (decoded === undefined)
    throw badRequest(`invalid URL escape ${JSON.stringify(segment)} in the path of the request`);
  if (decoded.includes('/'))
    throw badRequest(`invalid resource name ${JSON.stringify(decoded)}: [may not contain '/']`);
  return decoded;
}

function tryDecode(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}
