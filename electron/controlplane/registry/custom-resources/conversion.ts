// Conversion between the versions of a custom resource by its webhook: what is sent, what of the answer
// counts. Of metadata a converter may change labels and annotations only.
// Source: kubernetes apiextensions-apiserver pkg/apiserver/conversion/webhook_converter.go.
import type { CustomResourceDefinition } from '#kube/api/apiextensions.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { Clock } from '#kube/base/clock.ts';
import { uuid, type Random } from '#kube/base/random.ts';
import { deepCopy, deepEqual, isObject } from '#kube/machinery/equality.ts';
import { field, fieldErrorText } from '#kube/machinery/field.ts';
import { gvkOf, gvkText } from '#kube/machinery/gvk.ts';
import { validateAnnotations, validateLabels } from '#kube/machinery/object-meta.ts';
import { unknownFailure } from '#kube/machinery/status.ts';
import { WebhookError, type WebhookAddress, type WebhookCaller } from '#kube/machinery/webhook.ts';
import type { VersionConverter } from '../resource.ts';

const group = 'apiextensions.k8s.io';
const knownVersions = ['v1', 'v1beta1'];
/** For all calls of one conversion, however many objects there are. */
const patienceMs = 30_000;
/** Objects in one call, unless they are large. */
const maxObjects = 100;
const maxChunkLength = 1024 * 1024;

export interface ConversionDeps {
  readonly webhooks: WebhookCaller;
  readonly clock: Clock;
  readonly random: Random;
}

/** Undefined: the definition names no webhook. */
export function webhookConverter(
  { spec }: CustomResourceDefinition,
  deps: ConversionDeps,
): VersionConverter | undefined {
  const { strategy, webhook } = spec.conversion ?? {};
  if (strategy !== 'Webhook' || webhook?.clientConfig === undefined) return undefined;
  const address: WebhookAddress = webhook.clientConfig;
  const version =
    webhook.conversionReviewVersions.find((one) => knownVersions.includes(one)) ?? 'v1';
  return {
    async convert(objects, apiVersion) {
      const made: KubeObject[] = [];
      const endMs = deps.clock.monotonicMs() + patienceMs;
      for (const chunk of chunksOf(objects)) {
        const timeoutMs = endMs - deps.clock.monotonicMs();
        const call = { objects: chunk, apiVersion, version, address, timeoutMs };
        made.push(...(await convertChunk(deps, call)));
      }
      return made;
    },
  };
}

function chunksOf(objects: readonly KubeObject[]): KubeObject[][] {
  const chunks: KubeObject[][] = [];
  let length = 0;
  for (const object of objects) {
    const size = JSON.stringify(object).length;
    const last = chunks.at(-1);
    if (last === undefined || last.length >= maxObjects || length + size > maxChunkLength) {
      chunks.push([object]);
      length = size;
    } else {
      last.push(object);
      length += size;
    }
  }
  return chunks;
}

interface Call {
  readonly objects: readonly KubeObject[];
  readonly apiVersion: string;
  readonly version: string;
  readonly address: WebhookAddress;
  readonly timeoutMs: number;
}

async function convertChunk({ webhooks, random }: ConversionDeps, call: Call) {
  const { objects, apiVersion, version, address, timeoutMs } = call;
  const [first] = objects;
  if (first === undefined) return [];
  const what = `conversion webhook for ${gvkText(gvkOf(first))}`;
  const uid = uuid(random);
  const request = { uid, desiredAPIVersion: apiVersion, objects };
  const review = { kind: 'ConversionReview', apiVersion: `${group}/${version}`, request };
  if (timeoutMs <= 0)
    throw unknownFailure(
      `${what} failed: not all objects were converted within ${patienceMs / 1000} s`,
    );
  let converted: readonly unknown[];
  try {
    converted = readConverted(await webhooks.call({ address, review, timeoutMs }), uid, version);
  } catch (error) {
    if (!(error instanceof WebhookError)) throw error;
    throw unknownFailure(`${what} failed: ${error.message}`);
  }
  if (converted.length !== objects.length)
    throw unknownFailure(
      `${what} returned ${converted.length} objects, expected ${objects.length}`,
    );
  return objects.map((original, index) =>
    acceptConverted({ what, index, apiVersion }, original, converted[index]),
  );
}

/** Throws a WebhookError. */
function readConverted(review: unknown, uid: string, version: string): readonly unknown[] {
  const { kind = '', apiVersion = '', response } = isObject(review) ? review : {};
  const wanted = `${group}/${version}, Kind=ConversionReview`;
  const given = `${textOf(apiVersion)}, Kind=${textOf(kind)}`;
  if (given !== wanted)
    throw new WebhookError(`expected webhook response of ${wanted}, got ${given}`);
  if (!isObject(response)) throw new WebhookError('no response provided');
  const { uid: answered = '', result, convertedObjects } = response;
  if (answered !== uid)
    throw new WebhookError(
      `expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(answered)}`,
    );
  const { status = '', message = '' } = isObject(result) ? result : {};
  if (status !== 'Success')
    throw new WebhookError(
      typeof message === 'string' && message !== ''
        ? message
        : `response.result.status was '${textOf(status)}', expected 'Success'`,
    );
  return Array.isArray(convertedObjects) ? convertedObjects : [];
}

interface Place {
  readonly what: string;
  readonly index: number;
  readonly apiVersion: string;
}

function acceptConverted(
  { what, index, apiVersion }: Place,
  original: KubeObject,
  converted: unknown,
): KubeObject {
  const wrong = (why: string) => unknownFailure(`${what} returned ${why}`);
  if (!isObject(converted))
    throw wrong(`invalid converted object at index ${index}: it is no object`);
  if (converted['apiVersion'] !== apiVersion)
    throw wrong(
      `invalid converted object at index ${index}: invalid groupVersion (expected ${apiVersion}, received ${textOf(converted['apiVersion'])})`,
    );
  if (converted['kind'] !== original.kind)
    throw wrong(
      `invalid converted object at index ${index}: invalid kind (expected ${original.kind}, received ${textOf(converted['kind'])})`,
    );
  const changed = changedIdentity(original, converted['metadata']);
  if (changed !== undefined) throw wrong(`invalid converted object at index ${index}: ${changed}`);
  const restored = restoredMetadata(original, converted['metadata']);
  if (typeof restored === 'string')
    throw wrong(`invalid metadata in object at index ${index}: ${restored}`);
  return { ...converted, metadata: restored } as unknown as KubeObject;
}

function changedIdentity(original: KubeObject, metadata: unknown): string | undefined {
  if (!isObject(metadata)) return undefined;
  for (const [name, words] of [
    ['name', 'name'],
    ['namespace', 'namespace'],
    ['uid', 'UID'],
  ] as const) {
    const before = original.metadata[name] ?? '';
    const after = metadata[name] ?? '';
    if (before !== after) return `must have the same ${words}: ${before} != ${textOf(after)}`;
  }
  return undefined;
}

/** The original's metadata with the labels and annotations of the converted; or why not. */
function restoredMetadata(
  original: KubeObject,
  metadata: unknown,
): KubeObject['metadata'] | string {
  if (metadata === undefined) return 'missing metadata in converted object';
  if (!isObject(metadata)) return 'invalid metadata in converted object';
  const restored = deepCopy(original.metadata);
  for (const name of ['labels', 'annotations'] as const) {
    const given = metadata[name] ?? undefined;
    if (given === undefined) {
      delete restored[name];
      continue;
    }
    if (!isObject(given)) return `invalid metadata.${name} in converted object`;
    const notText = Object.keys(given).find((key) => typeof given[key] !== 'string');
    if (notText !== undefined)
      return `metadata.${name}[${notText}] must be a string in converted object`;
    const texts = given as Record<string, string>;
    if (!deepEqual(texts, original.metadata[name])) {
      const at = field('metadata', name);
      const errors = (name === 'labels' ? validateLabels : validateAnnotations)(texts, at);
      if (errors.length > 0) return errors.map(fieldErrorText).join(', ');
    }
    restored[name] = texts;
  }
  return restored;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
