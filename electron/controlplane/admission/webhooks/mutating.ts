// Webhooks that may change what is written: asked one after the other, each sees what those before it
// made of the object. After a change all that asked for it are asked once more.
// Source: kubernetes apiserver pkg/admission/plugin/webhook/mutating/dispatcher.go.
import type { KubeObject } from '#kube/api/object.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { applyJsonPatch, patchFailure } from '#kube/machinery/patch.ts';
import { internalError } from '#kube/machinery/status.ts';
import type { AdmissionAttributes, AdmissionPlugin } from '../chain.ts';
import type { DynamicDeps } from '../dynamic/deps.ts';
import { isExempt, type RuleMatch } from '../dynamic/matching.ts';
import { Reinvocation, takeOver } from '../dynamic/reinvocation.ts';
import { Versions } from '../dynamic/request.ts';
import { WebhookDispatch, type Hook } from './dispatch.ts';

const name = 'MutatingAdmissionWebhook';

export function mutatingWebhooks(deps: DynamicDeps): AdmissionPlugin {
  const dispatch = new WebhookDispatch(deps, 'mutatingwebhookconfigurations');
  return {
    name,
    handles: (attributes) => !isExempt(attributes) && dispatch.hooks().length > 0,
    async admit(attributes, rounds) {
      const again = new Reinvocation(name, rounds, attributes);
      const versions = new Versions(attributes, deps.kinds);
      for (const hook of dispatch.hooks()) {
        if (!again.isDue(hook.id)) continue;
        const match = await dispatch.matches(hook, attributes, versions);
        if (match === undefined) continue;
        const hasChanged = await askOne({ deps, dispatch, attributes, versions }, hook, match);
        const isWilling = hook.webhook.reinvocationPolicy === 'IfNeeded';
        again.asked(hook.id, { hasChanged, isWilling });
      }
      again.end(attributes);
    },
  };
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
    throw internalError(patchFailure(error));
  }
}

function decoded({ kinds }: DynamicDeps, value: unknown, { kind }: RuleMatch): KubeObject {
  try {
    return kinds.decode(value, kind);
  } catch (error) {
    throw internalError(error);
  }
}
