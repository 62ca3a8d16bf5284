// ValidatingAdmissionPolicies: expressions that requests are held against, where a binding says so.
// Source: kubernetes apiserver pkg/admission/plugin/policy/validating/dispatcher.go.
import type {
  MatchResources,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
} from '#kube/api/admissionregistration.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { forbidden, StatusError } from '#kube/machinery/status.ts';
import type { AdmissionExpressions } from '../../cel/admission.ts';
import { loadExpressions } from '../../cel/engine.ts';
import type { AdmissionAttributes, AdmissionPlugin } from '../chain.ts';
import type { DynamicDeps } from '../dynamic/deps.ts';
import { isExempt, isQuestion, namespaceOf, type RuleMatch } from '../dynamic/matching.ts';
import {
  compilePolicy,
  evaluatePolicy,
  type CompiledPolicy,
  type PolicyResult,
} from './compiled.ts';
import { collectParams } from './params.ts';
import { PolicyRequest } from './request.ts';

interface Refusal {
  readonly policy: ValidatingAdmissionPolicy;
  readonly binding: ValidatingAdmissionPolicyBinding | undefined;
  readonly message: string;
  readonly reason: string;
}

export function validatingPolicies(deps: DynamicDeps): AdmissionPlugin {
  const compiled = new WeakMap<KubeObject, CompiledPolicy | Error>();
  const policies = () =>
    deps.configurations('validatingadmissionpolicies') as readonly ValidatingAdmissionPolicy[];
  return {
    name: 'ValidatingAdmissionPolicy',
    handles: (attributes) =>
      !isExempt(attributes) && !isQuestion(attributes) && policies().length > 0,
    async validate(attributes) {
      const bindings = deps.configurations(
        'validatingadmissionpolicybindings',
      ) as readonly ValidatingAdmissionPolicyBinding[];
      if (bindings.length === 0) return;
      const run = new PolicyRun(deps, attributes, compiled);
      for (const policy of policies()) {
        const own = bindings.filter(({ spec }) => spec.policyName === policy.metadata.name);
        if (own.length > 0) await run.policy(policy, own);
      }
      const [first] = run.refusals;
      if (first !== undefined) throw refusalOf(attributes, first);
    },
  };
}

/** All policies over one request. */
class PolicyRun {
  readonly refusals: Refusal[] = [];
  readonly #deps: DynamicDeps;
  readonly #attributes: AdmissionAttributes;
  readonly #compiled: WeakMap<KubeObject, CompiledPolicy | Error>;
  readonly #request: PolicyRequest;

  constructor(
    deps: DynamicDeps,
    attributes: AdmissionAttributes,
    compiled: WeakMap<KubeObject, CompiledPolicy | Error>,
  ) {
    this.#deps = deps;
    this.#attributes = attributes;
    this.#compiled = compiled;
    this.#request = new PolicyRequest(deps, attributes);
  }

  async policy(
    policy: ValidatingAdmissionPolicy,
    bindings: readonly ValidatingAdmissionPolicyBinding[],
  ): Promise<void> {
    const match = await this.#matches(policy.spec.matchConstraints ?? {}, policy, undefined);
    if (match === undefined) return;
    const expressions = await loadExpressions();
    const compiled = this.#compile(expressions, policy);
    if (compiled instanceof Error) return this.#misconfigured(policy, undefined, compiled);
    const annotations = new Map<string, Set<string>>();
    for (const binding of bindings) {
      const { matchResources, paramRef } = binding.spec;
      const where = await this.#matches(matchResources ?? {}, policy, binding);
      if (where === undefined) continue;
      let results: readonly PolicyResult[];
      try {
        results = await this.#evaluate({ expressions, compiled, policy, match }, paramRef);
      } catch (error) {
        this.#misconfigured(policy, binding, error as Error);
        continue;
      }
      for (const result of results) this.#act(policy, binding, result, annotations);
    }
    for (const [key, values] of annotations)
      this.#attributes.annotate?.(`${policy.metadata.name}/${key}`, [...values].join(', '));
  }

  async #matches(
    match: MatchResources,
    policy: ValidatingAdmissionPolicy,
    binding: ValidatingAdmissionPolicyBinding | undefined,
  ): Promise<RuleMatch | undefined> {
    try {
      return await this.#request.matches(match);
    } catch (error) {
      this.#misconfigured(policy, binding, error as Error);
      return undefined;
    }
  }

  #compile(
    expressions: AdmissionExpressions,
    policy: ValidatingAdmissionPolicy,
  ): CompiledPolicy | Error {
    let made = this.#compiled.get(policy);
    if (made !== undefined) return made;
    try {
      made = compilePolicy(expressions, policy);
    } catch (error) {
      made = error as Error;
    }
    this.#compiled.set(policy, made);
    return made;
  }

  /** For each of the binding's params. */
  async #evaluate(
    { expressions, compiled, policy, match }: Evaluated,
    paramRef: ValidatingAdmissionPolicyBinding['spec']['paramRef'],
  ): Promise<readonly PolicyResult[]> {
    const namespace = namespaceOf(this.#attributes);
    const { paramKind, failurePolicy } = policy.spec;
    const params = await collectParams(paramKind, paramRef, namespace, this.#deps.kinds);
    const common = await this.#request.variables(expressions, match);
    const ignoresFailure = failurePolicy === 'Ignore';
    const results: PolicyResult[] = [];
    for (const one of params) {
      const variables = { ...common, params: expressions.value(one) };
      results.push(
        await this.#request.counted(expressions, () =>
          evaluatePolicy(expressions, compiled, { variables, ignoresFailure }),
        ),
      );
    }
    return results;
  }

  #act(
    policy: ValidatingAdmissionPolicy,
    binding: ValidatingAdmissionPolicyBinding,
    { denials, failures, annotations }: PolicyResult,
    collected: Map<string, Set<string>>,
  ): void {
    const attributes = this.#attributes;
    const { validationActions } = binding.spec;
    const of = `ValidatingAdmissionPolicy '${policy.metadata.name}' with binding '${binding.metadata.name}'`;
    for (const { message, reason, index } of denials)
      for (const action of validationActions)
        if (action === 'Deny') this.refusals.push({ policy, binding, message, reason });
        else if (action === 'Warn') attributes.warn(`Validation failed for ${of}: ${message}`);
        else if (action === 'Audit')
          attributes.annotate?.(
            'validation.policy.admission.k8s.io/validation_failure',
            JSON.stringify([
              {
                message,
                policy: policy.metadata.name,
                binding: binding.metadata.name,
                expressionIndex: index,
                validationActions,
              },
            ]),
          );
    for (const message of failures) this.refusals.push({ policy, binding, message, reason: '' });
    for (const { key, value } of annotations) {
      const values = collected.get(key) ?? new Set();
      collected.set(key, values.add(value.slice(0, maxAnnotationLength)));
    }
  }

  #misconfigured(
    policy: ValidatingAdmissionPolicy,
    binding: ValidatingAdmissionPolicyBinding | undefined,
    error: Error,
  ): void {
    if (policy.spec.failurePolicy === 'Ignore') return;
    const what = binding === undefined ? 'policy' : 'binding';
    const message = `failed to configure ${what}: ${error.message}`;
    this.refusals.push({ policy, binding, message, reason: '' });
  }
}

const maxAnnotationLength = 10 * 1024;

interface Evaluated {
  readonly expressions: AdmissionExpressions;
  readonly compiled: CompiledPolicy;
  readonly policy: ValidatingAdmissionPolicy;
  readonly match: RuleMatch;
}

const codes: Readonly<Record<string, number>> = {
  Forbidden: 403,
  Unauthorized: 401,
  RequestEntityTooLarge: 413,
};

function refusalOf(
  { resource, name }: AdmissionAttributes,
  { policy, binding, message, reason }: Refusal,
): StatusError {
  const by = binding === undefined ? '' : ` with binding '${binding.metadata.name}'`;
  const text = `ValidatingAdmissionPolicy '${policy.metadata.name}'${by} denied request: ${message}`;
  const { status } = forbidden(resource, name, text);
  return new StatusError({
    ...status,
    reason: reason === '' ? 'Invalid' : reason,
    code: codes[reason] ?? 422,
    details: { ...status.details, causes: [{ message: text }] },
  });
}
