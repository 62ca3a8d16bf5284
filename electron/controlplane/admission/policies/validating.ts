// ValidatingAdmissionPolicies: expressions that requests are held against, where a binding says so.
// Source: kubernetes apiserver pkg/admission/plugin/policy/validating/dispatcher.go.
import type {
  MatchResources,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
} from '#kube/api/admissionregistration.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { forbidden, notFound, StatusError } from '#kube/machinery/status.ts';
import type { AdmissionExpressions } from '../../cel/admission.ts';
import { policiesBudget } from '../../cel/budget.ts';
import { loadExpressions } from '../../cel/engine.ts';
import type { AdmissionAttributes, AdmissionPlugin } from '../chain.ts';
import { authorizerOf } from '../dynamic/authorizer.ts';
import type { DynamicDeps } from '../dynamic/deps.ts';
import {
  isExempt,
  isQuestion,
  matchesNamespace,
  matchesObject,
  matchingRule,
  namespaceOf,
  type RuleMatch,
} from '../dynamic/matching.ts';
import { admissionRequest, Versions } from '../dynamic/request.ts';
import {
  compilePolicy,
  evaluatePolicy,
  type CompiledPolicy,
  type PolicyResult,
} from './compiled.ts';
import { collectParams } from './params.ts';

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
  readonly #versions: Versions;
  #namespace: Promise<KubeObject | undefined> | undefined;
  #left = policiesBudget;
  #spent = 0;

  constructor(
    deps: DynamicDeps,
    attributes: AdmissionAttributes,
    compiled: WeakMap<KubeObject, CompiledPolicy | Error>,
  ) {
    this.#deps = deps;
    this.#attributes = attributes;
    this.#compiled = compiled;
    this.#versions = new Versions(attributes, deps.kinds);
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

  /** Where nothing is said, everything matches. */
  async #matches(
    match: MatchResources,
    policy: ValidatingAdmissionPolicy,
    binding: ValidatingAdmissionPolicyBinding | undefined,
  ): Promise<RuleMatch | undefined> {
    const { resourceRules = [], excludeResourceRules = [], matchPolicy } = match;
    const { kinds, reader } = this.#deps;
    const attributes = this.#attributes;
    if (!matchesObject(match, attributes)) return undefined;
    if (matchingRule(excludeResourceRules, matchPolicy, attributes, kinds) !== undefined)
      return undefined;
    const found =
      resourceRules.length === 0
        ? attributes
        : matchingRule(resourceRules, matchPolicy, attributes, kinds);
    if (found === undefined) return undefined;
    try {
      return (await matchesNamespace(match, attributes, reader)) ? found : undefined;
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
    const { kinds, authorize } = this.#deps;
    const attributes = this.#attributes;
    const namespace = namespaceOf(attributes);
    const params = await collectParams(policy.spec.paramKind, paramRef, namespace, kinds);
    const objects = await this.#versions.in(match);
    const namespaceObject = await this.#namespaceObject();
    const common = {
      object: expressions.value(objects.object),
      oldObject: expressions.value(objects.oldObject),
      request: expressions.value(admissionRequest(attributes, match)),
      namespaceObject: expressions.value(namespaceObject),
      authorizer: authorizerOf(attributes, authorize),
    };
    const ignoresFailure = policy.spec.failurePolicy === 'Ignore';
    const results: PolicyResult[] = [];
    for (const one of params) {
      await this.#rest();
      const variables = { ...common, params: expressions.value(one) };
      const { value, cost } = expressions.counted(this.#left, () =>
        evaluatePolicy(expressions, compiled, { variables, ignoresFailure }),
      );
      this.#left -= cost;
      this.#spent += cost;
      results.push(value);
    }
    return results;
  }

  /** Others have their turn after every few milliseconds of this. */
  async #rest(): Promise<void> {
    if (this.#spent < costOfATurn) return;
    this.#spent = 0;
    await this.#deps.nextTurn();
  }

  /** Null for what is in no namespace; a Namespace is in none. Throws 404. */
  #namespaceObject(): Promise<KubeObject | undefined> {
    const { namespace } = this.#attributes;
    if (namespace === '') return Promise.resolve(undefined);
    this.#namespace ??= readNamespace(this.#deps, namespace);
    return this.#namespace;
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

const costOfATurn = 20_000;
const maxAnnotationLength = 10 * 1024;

interface Evaluated {
  readonly expressions: AdmissionExpressions;
  readonly compiled: CompiledPolicy;
  readonly policy: ValidatingAdmissionPolicy;
  readonly match: RuleMatch;
}

/** Without what says nothing of it. */
async function readNamespace({ reader }: DynamicDeps, name: string): Promise<KubeObject> {
  const namespaces = { group: '', version: 'v1', resource: 'namespaces' };
  const found = await reader.get(namespaces, '', name);
  if (found === undefined) throw notFound(namespaces, name);
  const { managedFields: _m, ownerReferences: _o, ...metadata } = found.metadata;
  return { ...found, metadata };
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
