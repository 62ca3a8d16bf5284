// Content negotiation: what form an answer takes (JSON, YAML, Table, metadata only, pretty,
// compressed), and what form a request's body has. Protobuf is read (see
// protobuf.ts) but never written.
// Source: kubernetes apiserver pkg/endpoints/handlers/{negotiation,responsewriters}.
import { promisify } from 'node:util';
import { gzip as gzipWithCallback } from 'node:zlib';
import { exactJson } from '#kube/machinery/exact-json.ts';
import { notAcceptable, unsupportedMediaType } from '#kube/machinery/status.ts';
import type { ApiRequest, ApiResponse, SlicedBody } from '../http.ts';
import { isSliced, joined } from '../response-body.ts';
import { protobufMediaType } from './protobuf.ts';
import { toYaml } from './yaml-json.ts';

export type Shape = 'object' | 'Table' | 'PartialObjectMetadata';

export interface OutputForm {
  readonly encoding: 'json' | 'yaml';
  readonly shape: Shape;
  readonly isPretty: boolean;
  readonly acceptsGzip: boolean;
}

interface MediaClause {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly quality: number;
}

const acceptedTypes = ['application/json', 'application/yaml'];
const acceptedBodyTypes = [...acceptedTypes, protobufMediaType];

/** Throws 406 when nothing that the client accepts can be given. */
export function negotiateOutput(request: Pick<ApiRequest, 'headers' | 'query'>): OutputForm {
  const { headers, query } = request;
  const acceptsGzip = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?(?:,|$))/.test(
    headers['accept-encoding'] ?? '',
  );
  const isPretty = isPrettyWanted(query.get('pretty'), headers['user-agent'] ?? '');
  for (const clause of parseAccept(headers['accept'] ?? '*/*')) {
    const encoding = encodingOf(clause.type);
    const shape = shapeOf(clause.parameters);
    if (encoding !== undefined && shape !== undefined)
      return { encoding, shape, isPretty, acceptsGzip };
  }
  throw notAcceptable(acceptedTypes);
}

function parseAccept(accept: string): MediaClause[] {
  const clauses = accept
    .split(',')
    .filter((part) => part.trim() !== '')
    .map(parseClause);
  // Array.sort is stable: equal qualities keep the client's order.
  return clauses.sort((a, b) => b.quality - a.quality);
}

function parseClause(text: string): MediaClause {
  const [type = '', ...rest] = text.split(';').map((part) => part.trim());
  const parameters = new Map(
    rest.map((part) => {
      const [name = '', value = ''] = part.split('=');
      return [name.toLowerCase(), value];
    }),
  );
  const quality = Number(parameters.get('q') ?? '1');
  return { type: type.toLowerCase(), parameters, quality: Number.isNaN(quality) ? 0 : quality };
}

function encodingOf(type: string): 'json' | 'yaml' | undefined {
  if (type === 'application/json' || type === '*/*' || type === 'application/*') return 'json';
  return type === 'application/yaml' ? 'yaml' : undefined;
}

/** `as=Table;g=meta.k8s.io;v=v1`; undefined for a shape that can't be given. */
function shapeOf(parameters: ReadonlyMap<string, string>): Shape | undefined {
  const as = parameters.get('as');
  if (as === undefined) return 'object';
  const version = parameters.get('v') ?? '';
  if (parameters.get('g') !== 'meta.k8s.io' || (version !== 'v1' && version !== 'v1beta1'))
    return undefined;
  if (as === 'Table') return 'Table';
  if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList')
    return 'PartialObjectMetadata';
  return undefined;
}

function isPrettyWanted(parameter: string | null, userAgent: string): boolean {
  if (parameter !== null) return parameter === 'true' || parameter === '1' || parameter === '';
  return /^(?:curl|Wget|Mozilla\/5\.0)/.test(userAgent);
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** Smaller answers are not worth compressing. As in Kubernetes. */
const gzipThresholdBytes = 128 * 1024;

/** Longer answers are written in slices, if they are. */
const slicedBytesMin = 64 * 1024;

/** `json` is one JSON value in bytes; `headers` are added to the form's own. */
export async function encodeResponse(
  status: number,
  json: Uint8Array | SlicedBody,
  form: OutputForm,
  headers: Readonly<Record<string, string>>,
): Promise<ApiResponse> {
  const isPlain = form.encoding === 'json' && !form.isPretty;
  const mayBeSliced = isPlain && !(form.acceptsGzip && json.byteLength >= gzipThresholdBytes);
  const isLong = mayBeSliced && json.byteLength >= slicedBytesMin;
  const body = isLong ? json : inForm(isSliced(json) ? joined(json) : json, form);
  const all: Record<string, string> = {
    'content-type': form.encoding === 'json' ? 'application/json' : 'application/yaml',
    'cache-control': 'no-cache, private',
    ...headers,
  };
  if (isSliced(body) || !form.acceptsGzip || body.length < gzipThresholdBytes)
    return { status, headers: all, body };
  all['content-encoding'] = 'gzip';
  all['vary'] = 'Accept-Encoding';
  return { status, headers: all, body: await gzip(body) };
}

function inForm(json: Uint8Array, form: OutputForm): Uint8Array {
  if (form.encoding === 'yaml') return encoder.encode(toYaml(parse(json)));
  if (form.isPretty) return encoder.encode(`${JSON.stringify(parse(json), undefined, 2)}\n`);
  return json;
}

function parse(json: Uint8Array): unknown {
  return exactJson(decoder.decode(json));
}

const gzipAsync = promisify(gzipWithCallback);

/** Level 1, as in Kubernetes: most of the gain for little time. */
function gzip(bytes: Uint8Array): Promise<Uint8Array> {
  return gzipAsync(bytes, { level: 1 });
}

/** The content type without parameters; '' when the request names none. */
export function contentTypeOf(request: Pick<ApiRequest, 'headers'>): string {
  const [type = ''] = (request.headers['content-type'] ?? '').split(';');
  return type.trim().toLowerCase();
}

/** A missing content type means JSON. Throws 415 for what nobody can read here. */
export function bodyEncoding(request: Pick<ApiRequest, 'headers'>): 'json' | 'yaml' | 'protobuf' {
  const type = contentTypeOf(request);
  if (type === '' || type === 'application/json') return 'json';
  if (type === 'application/yaml') return 'yaml';
  if (type === protobufMediaType) return 'protobuf';
  throw unsupportedMediaType(type, acceptedBodyTypes);
}
