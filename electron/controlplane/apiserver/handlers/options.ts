// The query parameters of the verbs, parsed and checked in Kubernetes' wording.
// Source: kubernetes apimachinery pkg/apis/meta/v1/validation/validation.go and
// pkg/apis/meta/internalversion/validation/validation.go.
import type { DeleteOptions } from '#kube/api/meta.ts';
import {
  fieldMatcher,
  parseFieldSelector,
  type FieldMatcher,
} from '#kube/machinery/field-selector.ts';
import {
  field,
  forbidden,
  invalid as invalidField,
  notSupported,
  required,
  tooLong,
  type FieldError,
} from '#kube/machinery/field.ts';
import { byteLength } from '#kube/machinery/names.ts';
import { parseLabelSelector } from '#kube/machinery/selector.ts';
import { badRequest, invalid } from '#kube/machinery/status.ts';
import type { ListQuery } from '../../registry/list.ts';

export type FieldValidation = 'Ignore' | 'Warn' | 'Strict';

export interface WriteParameters {
  readonly dryRun: boolean;
  readonly validation: FieldValidation;
}

const metaGroup = 'meta.k8s.io';
const fieldManagerMaxLength = 128;

/** `kind` is the options' kind, such as `CreateOptions`. Throws 422. */
export function parseWriteParameters(query: URLSearchParams, kind: string): WriteParameters {
  return parseParameters(query, kind, []);
}

/** Of a patch; what is applied must have a manager, and only that can be forced. Throws 422. */
export function parsePatchParameters(
  query: URLSearchParams,
  isApply: boolean,
): WriteParameters & { readonly isForced: boolean } {
  const force = query.get('force');
  const errors: FieldError[] = [];
  if (!isApply && force !== null)
    errors.push(forbidden(field('force'), 'may not be specified for non-apply patch'));
  if (isApply && (query.get('fieldManager') ?? '') === '')
    errors.push(required(field('fieldManager'), 'is required for apply patch'));
  return { ...parseParameters(query, 'PatchOptions', errors), isForced: isTrue(force) };
}

function parseParameters(
  query: URLSearchParams,
  kind: string,
  found: readonly FieldError[],
): WriteParameters {
  const validation = query.get('fieldValidation') ?? '';
  const dryRun = query.getAll('dryRun');
  const errors = [
    ...found,
    ...managerErrors(query.get('fieldManager') ?? ''),
    ...dryRunErrors(dryRun),
  ];
  if (!validationNames.includes(validation))
    errors.push(notSupported(field('fieldValidation'), validation, validationNames));
  if (errors.length > 0) throw invalid({ group: metaGroup, kind }, '', errors);
  return {
    dryRun: dryRun.length > 0,
    validation: validation === 'Ignore' || validation === 'Strict' ? validation : 'Warn',
  };
}

const validationNames = ['', 'Ignore', 'Strict', 'Warn'];

function managerErrors(manager: string): FieldError[] {
  const path = field('fieldManager');
  const errors: FieldError[] = [];
  if (byteLength(manager) > fieldManagerMaxLength)
    errors.push(tooLong(path, fieldManagerMaxLength));
  let position = 0;
  for (const character of manager) {
    if (!/[\p{L}\p{M}\p{N}\p{P}\p{S} ]/u.test(character)) {
      const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
      const detail = `invalid character U+${code} (at position ${position})`;
      errors.push(invalidField(path, manager, detail));
    }
    position += byteLength(character);
  }
  return errors;
}

function dryRunErrors(values: readonly string[]): FieldError[] {
  if (values.every((value) => value === 'All')) return [];
  return [notSupported(field('dryRun'), values, ['All'])];
}

/** What a delete's query says; for requests without a body. Throws 400. */
export function parseDeleteQuery(query: URLSearchParams): DeleteOptions {
  const options: DeleteOptions = {};
  const grace = query.get('gracePeriodSeconds');
  if (grace !== null) options.gracePeriodSeconds = parseInteger('gracePeriodSeconds', grace);
  const policy = query.get('propagationPolicy');
  if (policy !== null) options.propagationPolicy = policy;
  const orphan = query.get('orphanDependents');
  if (orphan !== null) options.orphanDependents = isTrue(orphan);
  const dryRun = query.getAll('dryRun');
  if (dryRun.length > 0) options.dryRun = dryRun;
  return options;
}

const policies = ['Foreground', 'Background', 'Orphan', 'nil'];

/** Throws 422. */
export function validateDeleteOptions(options: DeleteOptions): void {
  const { propagationPolicy: policy, orphanDependents } = options;
  const path = field('propagationPolicy');
  const errors: FieldError[] = [];
  if (policy !== undefined && orphanDependents !== undefined)
    errors.push(
      invalidField(path, policy, 'orphanDependents and deletionPropagation cannot be both set'),
    );
  if (policy !== undefined && !policies.slice(0, 3).includes(policy))
    errors.push(notSupported(path, policy, policies));
  errors.push(...dryRunErrors(options.dryRun ?? []));
  if (errors.length > 0) throw invalid({ group: metaGroup, kind: 'DeleteOptions' }, '', errors);
}

/** Selectors, pages and versions of a list. Throws 400, 422. */
export function parseListQuery(query: URLSearchParams, namespace: string): ListQuery {
  refuse(listErrors(query));
  return {
    ...parseSelection(query, namespace),
    limit: parseLimit(query.get('limit')),
    continueToken: query.get('continue') ?? '',
    resourceVersion: query.get('resourceVersion') ?? '',
    resourceVersionMatch: query.get('resourceVersionMatch') ?? '',
  };
}

function parseSelection(query: URLSearchParams, namespace: string) {
  return {
    namespace,
    labels: parseLabelSelector(query.get('labelSelector') ?? ''),
    fields: parseFieldSelector(query.get('fieldSelector') ?? ''),
  };
}

export interface WatchParameters extends ReturnType<typeof parseSelection> {
  readonly resourceVersion: string;
  readonly sendInitialEvents: boolean;
  readonly allowBookmarks: boolean;
  /** Undefined: the server chooses. */
  readonly timeoutMs: number | undefined;
}

/** What was authorized is watched: `name` is the one object, '' all of them. Throws 400, 422. */
export function parseWatchQuery(
  query: URLSearchParams,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): WatchParameters {
  refuse(watchErrors(query));
  const selection = parseSelection(query, namespace);
  const timeout = query.get('timeoutSeconds');
  const seconds = timeout === null ? 0 : parseInteger('timeoutSeconds', timeout);
  return {
    ...selection,
    fields: onlyNamed(selection.fields, name),
    resourceVersion: query.get('resourceVersion') ?? '',
    sendInitialEvents: isTrue(query.get('sendInitialEvents')),
    allowBookmarks: isTrue(query.get('allowWatchBookmarks')),
    timeoutMs: seconds > 0 ? seconds * 1000 : undefined,
  };
}

function onlyNamed(fields: FieldMatcher, name: string): FieldMatcher {
  const selected = fields.exactValue('metadata.name');
  if (name === '' || selected === name) return fields;
  if (selected !== undefined)
    throw badRequest("fieldSelector metadata.name doesn't match requested name");
  return fieldMatcher([...fields.terms, { field: 'metadata.name', operator: '=', value: name }]);
}

const matchPath = field('resourceVersionMatch');

function listErrors(query: URLSearchParams): FieldError[] {
  const match = query.get('resourceVersionMatch') ?? '';
  const errors: FieldError[] = [];
  if (match !== '') {
    const version = query.get('resourceVersion') ?? '';
    if (version === '')
      errors.push(
        forbidden(
          matchPath,
          'resourceVersionMatch is forbidden unless resourceVersion is provided',
        ),
      );
    if (isSet(query.get('continue')))
      errors.push(
        forbidden(matchPath, 'resourceVersionMatch is forbidden when continue is provided'),
      );
    if (match !== 'Exact' && match !== 'NotOlderThan')
      errors.push(notSupported(matchPath, match, ['Exact', 'NotOlderThan', '']));
    if (match === 'Exact' && version === '0')
      errors.push(
        forbidden(matchPath, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'),
      );
  }
  if (query.get('sendInitialEvents') !== null)
    errors.push(forbidden(field('sendInitialEvents'), 'sendInitialEvents is forbidden for list'));
  return errors;
}

function watchErrors(query: URLSearchParams): FieldError[] {
  const match = query.get('resourceVersionMatch') ?? '';
  const isInitial = query.get('sendInitialEvents') !== null;
  const errors: FieldError[] = [];
  if (isInitial && match !== 'NotOlderThan')
    errors.push(
      forbidden(
        matchPath,
        'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
      ),
    );
  if (match === '') return errors;
  if (!isInitial)
    errors.push(
      forbidden(
        matchPath,
        'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
      ),
    );
  if (match !== 'NotOlderThan') errors.push(notSupported(matchPath, match, ['NotOlderThan']));
  if (isSet(query.get('continue')))
    errors.push(
      forbidden(matchPath, 'resourceVersionMatch is forbidden when continue is provided'),
    );
  return errors;
}

function refuse(errors: readonly FieldError[]): void {
  if (errors.length > 0) throw invalid({ group: metaGroup, kind: 'ListOptions' }, '', errors);
}

/** A negative limit means none, as in Kubernetes. */
function parseLimit(text: string | null): number {
  return text === null || text === '' ? 0 : Math.max(0, parseInteger('limit', text));
}

/** Throws 400 in Go's words. */
export function parseInteger(name: string, text: string): number {
  const value = Number(text);
  if (/^[+-]?\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw badRequest(
    `strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax (parameter ${name})`,
  );
}

/** A parameter without a value counts as true; so do all texts but false and 0. */
export function isTrue(text: string | null): boolean {
  return text !== null && text.toLowerCase() !== 'false' && text !== '0';
}

function isSet(text: string | null): boolean {
  return text !== null && text !== '';
}
