// Webhooks that may change what is written: asked one after the other, each sees what those before it
// made of the object. After a change all that asked for it are asked once more.
// Source: kubernetes apiserver pkg/admission/plugin/webhook/mutating/{dispatcher,reinvocationcontext}.go.
import type { KubeObject } from '#kube/api/object.ts';
import { deepCopy, deepEqual } from '#kube/machinery/equality.ts';
import { applyJsonPatch } from '#kube/machinery/patch.ts';
import { internalError } from '#kube/machinery/status.ts';
import type { AdmissionAttributes, AdmissionPlugin, Rounds } from '../chain.ts';
import type { DynamicDeps } from '../dynamic/deps.ts';
import { isExempt, type RuleMatch } from '../dynamic/matching.ts';
import { Versions } from '../dynamic/request.ts';
import { WebhookDispatch, type Hook } from './dispatch.ts';

const name = 'MutatingAdmissionWebhook';

/** From the first round to the second. */
interface Kept {
  /** What the webhooks left behind. */
  output: KubeObject | undefined;
  /** Asked, and willing to be asked again. */
  readonly willing: Set<string>;
  /** To be asked again. */
  readonly due: Set<string>;
}

export function mutatingWebhooks(deps: DynamicDeps): AdmissionPlugin {
  const dispatch = new WebhookDispatch(deps, 'mutatingwebhookconfigurations');
  return {
    name,
    handles: (attributes) => !isExempt(attributes) && dispatch.hooks().length > 0,
    async admit(attributes, rounds) {
      const kept = keptOf(rounds);
      if (rounds.isSecond && !deepEqual(kept.output, attributes.object)) requireAll(kept);
      const versions = new Versions(attributes, deps.kinds);
      for (const hook of dispatch.hooks()) {
        if (rounds.isSecond && !kept.due.has(hook.id)) continue;
        const match = await dispatch.matches(hook, attributes, versions);
        if (match === undefined) continue;
        const isChanged = await askOne({ deps, dispatch, attributes, versions }, hook, match);
        if (isChanged) {
          requireAll(kept);
          rounds.askAgain();
        }
        if (hook.webhook.reinvocationPolicy === 'IfNeeded') kept.willing.add(hook.id);
      }
      kept.output = deepCopy(attributes.object);
    },
  };
}

function keptOf({ kept }: Rounds): Kept {
  const known = kept.get(name) as Kept | undefined;
  if (known !== undefined) return known;
  const made: Kept = { output: undefined, willing: new Set(), due: new Set() };
  kept.set(name, made);
  return made;
}

function requireAll({ willing, due }: Kept): void {
  for (const id of willing) due.add(id);
  willing.clear();
}

interface Surroundings {
  readonly deps: DynamicDeps;
  readonly dispatch: WebhookDispatch;
  readonly attributes: AdmissionAttributes;
  readonly versions: Versions;
}

/** Whether it changed the object. */
async function askOne(
  { deps, dispatch, attributes, versions }: Surroundings,
  hook: Hook,
  match: RuleMatch,
): Promise<boolean> {
  const objects = await versions.in(match);
  const answer = await dispatch.call(hook, { attributes, match, objects }, { mayPatch: true });
  if (answer === undefined || answer.patch.length === 0) return false;
  const next = decoded(deps, patchedBy(hook, objects.object, answer.patch), match);
  if (deepEqual(next, objects.object)) return false;
  const own = deepEqual(match.kind, attributes.kind)
    ? next
    : await deps.kinds.convert(next, attributes.kind);
  takeOver(attributes.object, own);
  versions.forget();
  return true;
}

function patchedBy(
  { webhook }: Hook,
  object: KubeObject | undefined,
  patch: readonly unknown[],
): unknown {
  if (object === undefined)
    throw internalError(
      `admission webhook "${webhook.name}" attempted to modify the object, which is not supported for this operation`,
    );
  try {
    return applyJsonPatch(object, patch);
  } catch (error) {
    throw internalError(error);
  }
}

function decoded({ kinds }: DynamicDeps, value: unknown, { kind }: RuleMatch): KubeObject {
  try {
    return kinds.decode(value, kind);
  } catch (error) {
    throw internalError(error);
  }
}

/** Everybody holds the same object: its fields change, not the object. */
function takeOver(target: KubeObject | undefined, source: KubeObject): void {
  if (target === undefined) return;
  for (const key of Object.keys(target)) delete (target as unknown as Record<string, unknown>)[key];
  Object.assign(target, source);
}
