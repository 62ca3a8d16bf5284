// POST pods/eviction: a delete that asks the pod's disruption budget first, and takes from it.
// Source: kubernetes pkg/registry/core/pod/storage/eviction.go.
import type { Pod } from '#kube/api/core.ts';
import type { DeleteOptions } from '#kube/api/meta.ts';
import type { Eviction, PodDisruptionBudget } from '#kube/api/policy.ts';
import { assert } from '#kube/base/assert.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { getCondition, isConditionTrue } from '#kube/machinery/conditions.ts';
import { withDisruptionAllowed } from '#kube/machinery/disruption-budget.ts';
import { parseFieldSelector } from '#kube/machinery/field-selector.ts';
import { matchesLabelSelector, parseLabelSelector } from '#kube/machinery/selector.ts';
import {
  conflict,
  forbidden,
  hasReason,
  unknownFailure,
  tooManyRequests,
} from '#kube/machinery/status.ts';
import type { ResourceRegistry } from '../../registry/resource-registry.ts';
import type { StoredObject } from '../../registry/storage-codec.ts';
import { serverRules } from '../../registry/update.ts';
import type { ApiResponse } from '../http.ts';
import { readObject } from './body.ts';
import { parseWriteParameters, validateDeleteOptions } from './options.ts';
import { checkUrlName, created } from './binding.ts';
import { outputForm, respondValue } from './respond.ts';
import { attributesOf, type BodyKind, type RequestScope } from './scope.ts';

const evictionKind: BodyKind = {
  group: 'policy',
  version: 'v1',
  kind: 'Eviction',
  schema: 'policy/v1.Eviction',
  formerVersions: ['v1beta1'],
};
const violated = "Cannot evict pod as it would violate the pod's disruption budget.";
/** Evictions that the disruption controller has not seen the end of. */
const maxDisruptedPods = 2000;
/** Others may write the pod while it is looked at. */
const maxAttempts = 20;

export async function handleEviction(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { info, request } = scope;
  const { dryRun, validation } = parseWriteParameters(request.query, 'CreateOptions');
  const eviction = (await readObject(scope, evictionKind, validation)) as Eviction;
  checkUrlName(scope, eviction);
  const isDryRun = dryRun || (eviction.deleteOptions?.dryRun ?? []).length > 0;
  const subject = { operation: 'CREATE', name: info.name, object: eviction } as const;
  const attributes = attributesOf(scope, { ...subject, dryRun: isDryRun });
  // Plugins are asked about the eviction, not about the delete that it leads to.
  await scope.deps.admission.admit(attributes);
  // A webhook may have changed them.
  const options = { ...eviction.deleteOptions, ...(isDryRun ? { dryRun: ['All'] } : {}) };
  validateDeleteOptions(options);
  await scope.deps.admission.validate(attributes);
  await evict(scope, options, isDryRun);
  return respondValue(scope, created, 201);
}

async function evict(scope: RequestScope, options: DeleteOptions, dryRun: boolean): Promise<void> {
  const { info, resource } = scope;
  for (let attempt = 1; ; attempt++) {
    const stored = await resource.get(info.namespace, info.name);
    const pod = stored.object as Pod;
    if (!needsNoBudget(pod)) return evictWithBudget(scope, { stored, options, dryRun });
    // It must not have become ready meanwhile.
    const isFixed = isOver(pod) || options.preconditions?.resourceVersion !== undefined;
    const bound = isFixed ? options : atRevision(options, stored);
    try {
      return await deletePod(scope, bound, dryRun);
    } catch (error) {
      const mayRetry = hasReason(error, 'Conflict') && !isFixed && attempt < maxAttempts;
      if (!mayRetry) throw error;
    }
  }
}

interface EvictionTask {
  readonly stored: StoredObject;
  readonly options: DeleteOptions;
  readonly dryRun: boolean;
}

async function evictWithBudget(
  scope: RequestScope,
  { stored, options, dryRun }: EvictionTask,
): Promise<void> {
  const pod = stored.object as Pod;
  const budgets = resourceOfBudgets(scope);
  const [budget, ...more] = await budgetsOf(scope, budgets, pod);
  if (more.length > 0)
    throw unknownFailure(
      'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.',
    );
  if (budget === undefined) return deletePod(scope, options, dryRun);
  if (!mayGoUnready(pod, budget)) {
    await takeFrom(scope, budgets, { pod, budget, dryRun });
    return deletePod(scope, options, dryRun);
  }
  const isOurs = options.preconditions?.resourceVersion === undefined;
  try {
    await deletePod(scope, isOurs ? atRevision(options, stored) : options, dryRun);
  } catch (error) {
    // It may be ready by now: ask again.
    if (hasReason(error, 'Conflict') && isOurs) throw beingProcessed(budget);
    throw error;
  }
}

function isOver({ metadata, status }: Pod): boolean {
  const isGoing = metadata.deletionTimestamp !== undefined;
  return isGoing || status?.phase === 'Succeeded' || status?.phase === 'Failed';
}

/** What does no work yet, or none any more, disrupts nothing. */
function needsNoBudget(pod: Pod): boolean {
  return isOver(pod) || pod.status?.phase === 'Pending';
}

/** A pod that does not count as healthy takes nothing away by going. */
function mayGoUnready({ status: podStatus }: Pod, { spec, status = {} }: PodDisruptionBudget) {
  if (isConditionTrue(podStatus?.conditions, 'Ready')) return false;
  if (spec.unhealthyPodEvictionPolicy === 'AlwaysAllow') return true;
  const { currentHealthy = 0, desiredHealthy = 0 } = status;
  return currentHealthy >= desiredHealthy && desiredHealthy > 0;
}

function resourceOfBudgets({ deps }: RequestScope): ResourceRegistry {
  const definition = deps.registry.table.lookup('policy', 'v1', 'poddisruptionbudgets');
  assert(definition, 'disruption budgets are in the table');
  return deps.registry.resource(definition);
}

async function budgetsOf(
  { info }: RequestScope,
  budgets: ResourceRegistry,
  pod: Pod,
): Promise<PodDisruptionBudget[]> {
  const { items } = await budgets.list({
    namespace: info.namespace,
    labels: parseLabelSelector(''),
    fields: parseFieldSelector(''),
    limit: 0,
    continueToken: '',
    resourceVersion: '',
    resourceVersionMatch: '',
  });
  return items
    .map(({ object }) => object as PodDisruptionBudget)
    .filter(({ spec }) => matchesLabelSelector(spec.selector, pod.metadata.labels ?? {}));
}

async function takeFrom(
  scope: RequestScope,
  budgets: ResourceRegistry,
  task: { readonly pod: Pod; readonly budget: PodDisruptionBudget; readonly dryRun: boolean },
): Promise<void> {
  const { namespace } = scope.info;
  const { name } = task.budget.metadata;
  const now = rfc3339(scope.deps.clock.now());
  const change = (old: StoredObject | undefined) => {
    const next = old?.copy() as PodDisruptionBudget;
    checkBudget(next);
    const status = { ...next.status };
    status.disruptionsAllowed = (status.disruptionsAllowed ?? 0) - 1;
    status.disruptedPods = { ...status.disruptedPods, [task.pod.metadata.name]: now };
    const isLast = status.disruptionsAllowed === 0;
    next.status = isLast ? withDisruptionAllowed(status, now) : status;
    return Promise.resolve(next);
  };
  await budgets.update({ namespace, name, rules: serverRules, change }, { dryRun: task.dryRun });
}

function checkBudget(budget: PodDisruptionBudget): void {
  const { metadata, status = {} } = budget;
  const { observedGeneration = 0, disruptionsAllowed = 0, disruptedPods = {} } = status;
  if (observedGeneration < (metadata.generation ?? 0)) throw beingProcessed(budget);
  const resource = { group: 'policy', resource: 'poddisruptionbudget' };
  const refuse = (why: string) => forbidden(resource, metadata.name, why);
  if (disruptionsAllowed < 0) throw refuse('pdb disruptions allowed is negative');
  if (Object.keys(disruptedPods).length > maxDisruptedPods)
    throw refuse('DisruptedPods map too big - too many evictions not confirmed by PDB controller');
  if (disruptionsAllowed > 0) return;
  const message = `The disruption budget ${metadata.name} ${whyNone(status)}`;
  throw tooManyRequests(violated, 0, [{ reason: 'DisruptionBudget', message }]);
}

function whyNone(status: NonNullable<PodDisruptionBudget['status']>): string {
  const { desiredHealthy = 0, currentHealthy = 0 } = status;
  const allowed = getCondition(status.conditions, 'DisruptionAllowed');
  if (allowed?.reason === 'SyncFailed')
    return `does not allow evicting pods currently because it failed sync: ${allowed.message ?? ''}`;
  if (currentHealthy <= desiredHealthy)
    return `needs ${desiredHealthy} healthy pods and has ${currentHealthy} currently`;
  return 'does not allow evicting pods currently';
}

function beingProcessed({ metadata }: PodDisruptionBudget) {
  const message = `The disruption budget ${metadata.name} is still being processed by the server.`;
  return tooManyRequests(violated, 10, [{ reason: 'DisruptionBudget', message }]);
}

function atRevision(options: DeleteOptions, { revision }: StoredObject): DeleteOptions {
  const preconditions = { ...options.preconditions, resourceVersion: String(revision) };
  return { ...options, preconditions };
}

/** Says why before it deletes, so that whoever owns the pod can tell an eviction from a failure. */
async function deletePod(
  scope: RequestScope,
  given: DeleteOptions,
  dryRun: boolean,
): Promise<void> {
  const { info, resource } = scope;
  const { namespace, name } = info;
  let options = given;
  if (!dryRun) {
    const change = (old: StoredObject | undefined) => {
      assert(old, 'an update finds its object');
      checkPreconditions(given, old);
      return Promise.resolve(withDisruptionTarget(old, rfc3339(scope.deps.clock.now())));
    };
    const { stored } = await resource.update({ namespace, name, rules: serverRules, change }, {});
    if (given.preconditions?.resourceVersion !== undefined) options = atRevision(given, stored);
  }
  const warn = (text: string) => void scope.warnings.add(text);
  await resource.delete({ namespace, name, options }, { dryRun, warn });
}

function checkPreconditions({ preconditions = {} }: DeleteOptions, old: StoredObject): void {
  const { uid, resourceVersion } = preconditions;
  const { metadata } = old.object;
  const refuse = (what: string, asked: string, has: string, may: string) =>
    conflict(
      { group: '', resource: 'Pod' },
      metadata.name,
      `the ${what} in the precondition (${asked}) does not match the ${what} in record (${has}). The object might have been ${may}`,
    );
  if (uid !== undefined && uid !== metadata.uid)
    throw refuse('UID', uid, metadata.uid ?? '', 'deleted and then recreated');
  if (resourceVersion !== undefined && resourceVersion !== String(old.revision))
    throw refuse('ResourceVersion', resourceVersion, String(old.revision), 'modified');
}

function withDisruptionTarget(old: StoredObject, now: string): Pod {
  const pod = old.copy() as Pod;
  const conditions = pod.status?.conditions ?? [];
  const before = conditions.find(({ type }) => type === 'DisruptionTarget');
  if (before?.status === 'True' && before.reason === 'EvictionByEvictionAPI') return pod;
  const others = conditions.filter((condition) => condition !== before);
  const target = {
    type: 'DisruptionTarget',
    status: 'True',
    reason: 'EvictionByEvictionAPI',
    message: 'Eviction API: evicting',
    lastTransitionTime: before?.status === 'True' ? (before.lastTransitionTime ?? now) : now,
  };
  pod.status = { ...pod.status, conditions: [...others, target] };
  return pod;
}
