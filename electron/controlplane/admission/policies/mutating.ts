// MutatingAdmissionPolicies: expressions that change what is written, where a binding says so. One after the
// other, each sees what those before it made of the object.
// Source: kubernetes apiserver pkg/admission/plugin/policy/mutating/{dispatcher,plugin}.go.
import type {
  MutatingAdmissionPolicy,
  MutatingAdmissionPolicyBinding,
} from '#kube/api/admissionregistration-v1beta1.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { forbidden, StatusError } from '#kube/machinery/status.ts';
import type { AdmissionExpressions } from '../../cel/admission.ts';
import { loadExpressions } from '../../cel/engine.ts';
import type { AdmissionAttributes, AdmissionPlugin } from '../chain.ts';
import { judgeConditions } from '../dynamic/conditions.ts';
import type { DynamicDeps } from '../dynamic/deps.ts';
import { isExempt, isQuestion, namespaceOf, type RuleMatch } from '../dynamic/matching.ts';
import { Reinvocation, takeOver } from '../dynamic/reinvocation.ts';
import type { PolicyVariables } from './compiled.ts';
import {
  compileMutations,
  mutated,
  type CompiledMutation,
  type CompiledMutations,
} from './mutations.ts';
import { collectParams } from './params.ts';
import { PolicyRequest } from './request.ts';

type Compiled = WeakMap<KubeObject, CompiledMutations | Error>;

/** A policy with one of its bindings and one of that one's params. */
interface Invocation {
  readonly id: string;
  readonly policy: MutatingAdmissionPolicy;
  readonly binding: MutatingAdmissionPolicyBinding;
  readonly compiled: CompiledMutations;
  readonly match: RuleMatch;
  readonly params: KubeObject | undefined;
}

interface Refusal {
  readonly policy: MutatingAdmissionPolicy;
  readonly binding: MutatingAdmissionPolicyBinding | undefined;
  readonly message: string;
  /** '' for what is wrong with the configuration. */
  readonly reason: string;
}

const name = 'MutatingAdmissionPolicy';

export function mutatingPolicies(deps: DynamicDeps): AdmissionPlugin {
  const compiled: Compiled = new WeakMap();
  const policies = () =>
    deps.configurations('mutatingadmissionpolicies') as readonly MutatingAdmissionPolicy[];
  return {
    name,
    handles: (attributes) =>
      attributes.operation !== 'DELETE' &&
      !isExempt(attributes) &&
      !isQuestion(attributes) &&
      policies().length > 0,
    async admit(attributes, rounds) {
      const bindings = deps.configurations(
        'mutatingadmissionpolicybindings',
      ) as readonly MutatingAdmissionPolicyBinding[];
      if (bindings.length === 0) return;
      const run = new MutationRun(deps, attributes, compiled);
      for (const policy of policies()) {
        const own = bindings.filter(({ spec }) => spec.policyName === policy.metadata.name);
        if (own.length > 0) await run.collect(policy, own);
      }
      await run.invokeAll(new Reinvocation(name, rounds, attributes));
      if (run.refusals.length > 0) throw refusalOf(attributes, run.refusals);
    },
  };
}

/** All policies over one request, in one round. */
class MutationRun {
  readonly refusals: Refusal[] = [];
  readonly #invocations: Invocation[] = [];
  readonly #deps: DynamicDeps;
  readonly #attributes: AdmissionAttributes;
  readonly #compiled: Compiled;
  readonly #request: PolicyRequest;

  constructor(deps: DynamicDeps, attributes: AdmissionAttributes, compiled: Compiled) {
    this.#deps = deps;
    this.#attributes = attributes;
    this.#compiled = compiled;
    this.#request = new PolicyRequest(deps, attributes);
  }

  /** What is to be asked, before anything is changed. */
  async collect(
    policy: MutatingAdmissionPolicy,
    bindings: readonly MutatingAdmissionPolicyBinding[],
  ): Promise<void> {
    let match: RuleMatch | undefined;
    let compiled: CompiledMutations;
    try {
      match = await this.#request.matches(policy.spec.matchConstraints ?? {});
      if (match === undefined) return;
      compiled = this.#compile(await loadExpressions(), policy);
    } catch (error) {
      const message = `failed to configure policy: ${(error as Error).message}`;
      return this.#refuse({ policy, binding: undefined, message, reason: '' });
    }
    for (const binding of bindings)
      try {
        const { matchResources = {}, paramRef } = binding.spec;
        if ((await this.#request.matches(matchResources)) === undefined) continue;
        const namespace = namespaceOf(this.#attributes);
        const { paramKind } = policy.spec;
        for (const params of await collectParams(
          paramKind,
          paramRef,
          namespace,
          this.#deps.kinds,
        )) {
          const { namespace: of = '', name: called = '' } = params?.metadata ?? {};
          const id = [policy.metadata.name, binding.metadata.name, of, called].join('/');
          this.#invocations.push({ id, policy, binding, compiled, match, params });
        }
      } catch (error) {
        const message = `failed to configure binding: ${(error as Error).message}`;
        this.#refuse({ policy, binding, message, reason: '' });
      }
  }

  async invokeAll(again: Reinvocation): Promise<void> {
    const expressions = await loadExpressions();
    for (const invocation of this.#invocations) {
      if (!(await this.#isMeant(expressions, invocation))) continue;
      if (!again.isDue(invocation.id)) continue;
      const hasChanged = await this.#invoke(expressions, invocation);
      const isWilling = invocation.policy.spec.reinvocationPolicy === 'IfNeeded';
      again.asked(invocation.id, { hasChanged, isWilling });
    }
    again.end(this.#attributes);
  }

  async #isMeant(expressions: AdmissionExpressions, invocation: Invocation): Promise<boolean> {
    const { policy, binding, compiled } = invocation;
    if (compiled.conditions.length === 0) return true;
    const variables = await this.#variables(expressions, invocation);
    const ignoresFailure = policy.spec.failurePolicy === 'Ignore';
    const result = await this.#request.counted(expressions, () =>
      judgeConditions(compiled.conditions, variables, { expressions, ignoresFailure }),
    );
    if (result.kind === 'error')
      this.#refuse({ policy, binding, message: result.message, reason: 'Invalid' });
    return result.kind === 'yes';
  }

  /** Whether it changed the object. */
  async #invoke(expressions: AdmissionExpressions, invocation: Invocation): Promise<boolean> {
    const { policy, binding, compiled } = invocation;
    let hasChanged = false;
    for (const mutation of compiled.mutations) {
      if (this.#attributes.object === undefined) return false;
      try {
        if (await this.#mutate(expressions, invocation, mutation)) hasChanged = true;
      } catch (error) {
        if (error instanceof StatusError) throw error;
        const { message } = error as Error;
        this.#refuse({ policy, binding, message, reason: 'Invalid' });
      }
    }
    return hasChanged;
  }

  async #mutate(
    expressions: AdmissionExpressions,
    invocation: Invocation,
    mutation: CompiledMutation,
  ): Promise<boolean> {
    const { kinds } = this.#deps;
    const { match } = invocation;
    const attributes = this.#attributes;
    const { object } = await this.#request.versions.in(match);
    if (object === undefined) return false;
    const variables = await this.#variables(expressions, invocation);
    const made = await this.#request.counted(expressions, () =>
      expressions.made(mutation.expression, variables),
    );
    const next = mutated(mutation, made, { object, kind: match.kind, kinds });
    if (deepEqual(next, object)) return false;
    const own = deepEqual(match.kind, attributes.kind)
      ? next
      : await kinds.convert(next, attributes.kind);
    takeOver(attributes.object, own);
    this.#request.versions.forget();
    return true;
  }

  async #variables(
    expressions: AdmissionExpressions,
    { match, compiled, params }: Invocation,
  ): Promise<PolicyVariables> {
    const common = await this.#request.variables(expressions, match);
    const given = { ...common, params: expressions.value(params) };
    return { ...given, variables: expressions.variables(compiled.variables, given) };
  }

  #compile(expressions: AdmissionExpressions, policy: MutatingAdmissionPolicy): CompiledMutations {
    let made = this.#compiled.get(policy);
    if (made === undefined) {
      try {
        made = compileMutations(expressions, policy);
      } catch (error) {
        made = error as Error;
      }
      this.#compiled.set(policy, made);
    }
    if (made instanceof Error) throw made;
    return made;
  }

  #refuse(refusal: Refusal): void {
    if (refusal.policy.spec.failurePolicy !== 'Ignore') this.refusals.push(refusal);
  }
}

/** Differs from a validating policy's in its words, and is always 403, as in Kubernetes. */
function refusalOf(
  { resource, name: of }: AdmissionAttributes,
  refusals: readonly Refusal[],
): StatusError {
  const messages = refusals.map(({ policy, binding, message }) => {
    const { name: called } = policy.metadata;
    return binding === undefined
      ? `policy '${called}' denied request: ${message}`
      : `policy '${called}' with binding '${binding.metadata.name}' denied request: ${message}`;
  });
  const [message = ''] = messages;
  const { status } = forbidden(resource, of, message);
  const reason = refusals[0]?.reason ?? '';
  return new StatusError({
    ...status,
    message,
    ...(reason === '' ? {} : { reason }),
    details: { ...status.details, causes: messages.map((text) => ({ message: text })) },
  });
}
