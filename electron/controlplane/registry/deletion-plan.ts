// What a delete does to an object: nothing (it is on its way out already), mark it, or remove it.
// Pure. Grace periods, finalizers and propagation policies meet here.
// Source: kubernetes apiserver pkg/registry/rest/delete.go (BeforeDelete),
// registry/generic/registry/store.go (deletionFinalizersForGarbageCollection).
import type { DeleteOptions } from '#kube/api/meta.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { foregroundFinalizer, orphanFinalizer } from '#kube/machinery/object-meta.ts';
import type { Strategy } from './resource.ts';

export type DeletionPlan =
  | { readonly kind: 'pending' }
  | { readonly kind: 'remove' }
  /** Write this and keep it: somebody has to confirm or to release it. */
  | { readonly kind: 'mark'; readonly object: KubeObject };

/** `object` is the caller's own copy of what is stored; it is changed. */
export function planDeletion(
  strategy: Strategy,
  object: KubeObject,
  options: DeleteOptions,
  nowMs: number,
): DeletionPlan {
  const grace = graceOf(strategy, object, options, nowMs);
  if (grace === 'pending') return { kind: 'pending' };
  const finalizers = finalizersFor(strategy, object, options);
  if (finalizers.length > 0) object.metadata.finalizers = finalizers;
  else delete object.metadata.finalizers;
  const isHeld = finalizers.length > 0 || strategy.hasOwnFinalizers?.(object) === true;
  if (grace === 'none') {
    if (!isHeld) return { kind: 'remove' };
    startDeletion(strategy, object, nowMs, strategy.hasOwnFinalizers === undefined ? 0 : undefined);
    return { kind: 'mark', object };
  }
  if (grace.seconds === 0 && !isHeld) return { kind: 'remove' };
  object.metadata.deletionTimestamp = undefined;
  startDeletion(strategy, object, grace.endMs, grace.seconds, grace.isFirst);
  return { kind: 'mark', object };
}

interface Grace {
  readonly seconds: number;
  readonly endMs: number;
  readonly isFirst: boolean;
}

function graceOf(
  strategy: Strategy,
  { metadata, ...rest }: KubeObject,
  options: DeleteOptions,
  nowMs: number,
): Grace | 'none' | 'pending' {
  const { deletionTimestamp, deletionGracePeriodSeconds: current } = metadata;
  const asked = boundedSeconds(options.gracePeriodSeconds);
  const requested = asked !== undefined && asked < 0 ? 1 : asked;
  if (strategy.deletionGraceSeconds === undefined || current === 0) return 'none';
  if (deletionTimestamp === undefined) {
    const seconds = boundedSeconds(strategy.deletionGraceSeconds({ metadata, ...rest }, requested));
    if (seconds === undefined) return 'none';
    return { seconds, endMs: nowMs + seconds * 1000, isFirst: true };
  }
  if (current === undefined) return 'none';
  // A running deletion can only be shortened.
  if (requested === undefined || requested >= current) return 'pending';
  const endMs = Date.parse(deletionTimestamp) + (requested - current) * 1000;
  return { seconds: requested, endMs, isFirst: false };
}

/** Clients may send integers that no number holds: a few hundred million years are as good. */
function boundedSeconds(seconds: number | bigint | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.min(Number(seconds), Number.MAX_SAFE_INTEGER);
}

/** The last that RFC 3339 can say. */
const endOfTimeMs = Date.UTC(9999, 11, 31, 23, 59, 59);

function startDeletion(
  strategy: Strategy,
  object: KubeObject,
  endMs: number,
  graceSeconds: number | undefined,
  isFirst = object.metadata.deletionTimestamp === undefined,
): void {
  const { metadata } = object;
  if (isFirst && (metadata.generation ?? 0) > 0)
    metadata.generation = (metadata.generation ?? 0) + 1;
  metadata.deletionTimestamp ??= rfc3339(Math.min(endMs, endOfTimeMs));
  if (graceSeconds !== undefined) metadata.deletionGracePeriodSeconds = graceSeconds;
  if (isFirst) strategy.onDeletionStart?.(object);
}

/**
 * The policy adds its finalizer and takes away the other's. No policy leaves both as they are; where
 * there is neither, the kind's own policy counts.
 */
function finalizersFor(
  strategy: Strategy,
  { metadata }: KubeObject,
  options: DeleteOptions,
): string[] {
  const present = [...(metadata.finalizers ?? [])];
  if (metadata.deletionTimestamp === undefined)
    for (const name of strategy.deletionFinalizers ?? [])
      if (!present.includes(name)) present.push(name);
  const isDecided = present.includes(orphanFinalizer) || present.includes(foregroundFinalizer);
  const preset = strategy.orphansByDefault === undefined || isDecided ? undefined : 'Orphan';
  const policy = policyOf(options) ?? preset;
  if (policy === undefined) return [...present];
  const own = policy === 'Orphan' ? orphanFinalizer : foregroundFinalizer;
  const kept = present.filter((name) => name !== orphanFinalizer && name !== foregroundFinalizer);
  if (policy === 'Background') return kept;
  return present.includes(own)
    ? present.filter((name) => name === own || kept.includes(name))
    : [...kept, own];
}

/** What the client asks for. */
export function policyOf(
  options: DeleteOptions,
): 'Orphan' | 'Foreground' | 'Background' | undefined {
  if (options.orphanDependents !== undefined)
    return options.orphanDependents ? 'Orphan' : 'Background';
  const policy = options.propagationPolicy;
  return policy === 'Orphan' || policy === 'Foreground' || policy === 'Background'
    ? policy
    : undefined;
}
