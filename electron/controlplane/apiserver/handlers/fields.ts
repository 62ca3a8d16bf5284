// Who owns the fields that a request writes: between the handlers and the field manager.
// Source: kubernetes apiserver pkg/endpoints/handlers/{create,update,rest}.go (managerOrUserAgent).
import type { KubeObject } from '#kube/api/object.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { apiVersionOf, parseApiVersion } from '#kube/machinery/gvk.ts';
import { FieldManager, type Applied, type Writer } from '#kube/machinery/apply/field-manager.ts';
import { fieldSet, type FieldSet } from '#kube/machinery/apply/field-set.ts';
import {
  settledAlike,
  type Converting,
  type Versioned,
  type VersionRequest,
} from '#kube/machinery/apply/versions.ts';
import type { SchemaRegistry } from '#kube/machinery/schema.ts';
import { StatusError } from '#kube/machinery/status.ts';
import { hasStatus } from '../../registry/create.ts';
import { converted } from '../../registry/kind-versions.ts';
import { storagePrefix } from '../../registry/resource-table.ts';
import type { ResourceDefinition } from '../../registry/resource.ts';
import type { ApiRequest } from '../http.ts';
import type { RequestScope } from './scope.ts';

const maxManagerLength = 128;

export class FieldTracker {
  readonly #manager: FieldManager;
  readonly #schemas: SchemaRegistry;
  /** By definition, for writes of a status. */
  readonly #statusResets = new WeakMap<ResourceDefinition, FieldSet>();

  constructor(schemas: SchemaRegistry) {
    this.#schemas = schemas;
    this.#manager = new FieldManager(schemas);
  }

  /**
   * Sets the managedFields of `next`: what this request changes is its writer's. Before admission,
   * so that nobody owns what a plugin adds. `old` is undefined for a create. Who owns fields in a version that
   * can't be had now is forgotten: else nothing could be written while a conversion webhook is away.
   * Differs: Kubernetes forgets all owners then.
   */
  async track(scope: RequestScope, old: KubeObject | undefined, next: KubeObject): Promise<void> {
    const { schema } = scope.definition;
    const work = this.#manager.update(schema, { old, next }, this.writerOf(scope));
    setManagedFields(next, await settled(work, (asked) => versionedIfPossible(scope, asked)));
  }

  /** Throws 400 and 409, and what a conversion does. */
  apply(scope: RequestScope, given: Parameters<FieldManager['apply']>[1]): Promise<Applied> {
    const { schema } = scope.definition;
    const work = this.#manager.apply(schema, given, this.writerOf(scope));
    return settled(work, (asked) => versioned(scope, asked));
  }

  /** As `track`, for a Scale in place of the object. */
  trackScale(scope: RequestScope, schema: string, change: { old: KubeObject; next: KubeObject }) {
    return settledAlike(this.#manager.update(schema, change, this.writerOf(scope)), schema);
  }

  /** As `apply`, for a Scale in place of the object. */
  applyScale(
    scope: RequestScope,
    schema: string,
    given: Parameters<FieldManager['apply']>[1],
  ): Applied {
    return settledAlike(this.#manager.apply(schema, given, this.writerOf(scope)), schema);
  }

  writerOf(scope: RequestScope): Writer {
    const { definition, info, request, deps } = scope;
    return {
      manager: managerOf(request),
      apiVersion: apiVersionOf(definition),
      subresource: info.subresource,
      ...this.#ownable(definition, info.subresource),
      time: rfc3339(deps.clock.now()),
    };
  }

  /** What a request of this kind can't change, as UpdateRules have it. */
  #ownable(
    definition: ResourceDefinition,
    subresource: string,
  ): Pick<Writer, 'resetFields' | 'onlyFields'> {
    const found = definition.subresources?.[subresource];
    if (found?.type !== 'status') return { resetFields: hasStatus(definition) ? onlyStatus : {} };
    const { resetFields, onlyFields } = found;
    if (onlyFields !== undefined) return { resetFields: {}, onlyFields };
    if (resetFields !== undefined) return { resetFields };
    const known = this.#statusResets.get(definition) ?? this.#allButStatus(definition);
    this.#statusResets.set(definition, known);
    return { resetFields: known };
  }

  #allButStatus({ schema }: ResourceDefinition): FieldSet {
    const names = (type: string) => Object.keys(this.#schemas.get(type).properties ?? {});
    return fieldSet(
      ...names(schema)
        .filter((name) => name !== 'metadata' && name !== 'status')
        .map((name) => [`f:${name}`]),
      ...names('meta/v1.ObjectMeta')
        .filter((name) => name !== 'annotations')
        .map((name) => ['f:metadata', `f:${name}`]),
    );
  }
}

/** With each conversion that is asked for. */
async function settled<T>(
  work: Converting<T>,
  convert: (asked: VersionRequest) => Promise<Versioned | undefined>,
): Promise<T> {
  let step = work.next();
  while (step.done !== true) step = work.next(await convert(step.value));
  return step.value;
}

async function versionedIfPossible(
  scope: RequestScope,
  asked: VersionRequest,
): Promise<Versioned | undefined> {
  try {
    return await versioned(scope, asked);
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    scope.deps.logger.warn('Who owns fields in a version that does not convert is forgotten', {
      kind: scope.definition.kind,
      apiVersion: asked.apiVersion,
      reason: error.message,
    });
    return undefined;
  }
}

/** Undefined: the version is not served any more, or not one of this kind. */
async function versioned(
  { deps, definition }: RequestScope,
  { object, apiVersion }: VersionRequest,
): Promise<Versioned | undefined> {
  const { table } = deps.registry;
  const given = object as KubeObject;
  const find = (version: string) =>
    table.lookupKind({ ...parseApiVersion(version), kind: definition.kind });
  const [from, to] = [find(given.apiVersion), find(apiVersion)];
  if (from === undefined || to === undefined) return undefined;
  // A client may name any: no object goes to the webhook of another's.
  if (storagePrefix(from) !== storagePrefix(to)) return undefined;
  return { object: await converted(given, from, to), schema: to.schema };
}

const onlyStatus = fieldSet(['f:status']);

export function setManagedFields(
  { metadata }: KubeObject,
  entries: Applied['managedFields'],
): void {
  if (entries === undefined) delete metadata.managedFields;
  else metadata.managedFields = entries;
}

/** What the client calls itself, else the program by its User-Agent, without its version. */
function managerOf({ query, headers }: ApiRequest): string {
  const given = query.get('fieldManager') ?? '';
  if (given !== '') return given;
  const [program = ''] = (headers['user-agent'] ?? '').split('/');
  return program.replaceAll(/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu, '').slice(0, maxManagerLength);
}
