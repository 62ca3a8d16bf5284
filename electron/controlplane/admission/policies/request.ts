// One request and all policies of a plugin: where each of them holds, what its expressions see, and what
// they have used up of the budget that they have together.
// Source: kubernetes apiserver pkg/admission/plugin/policy/{matching/matching.go,generic/policy_dispatcher.go}.
import type { MatchResources } from '#kube/api/admissionregistration.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { notFound } from '#kube/machinery/status.ts';
import type { AdmissionExpressions } from '../../cel/admission.ts';
import { policiesBudget } from '../../cel/budget.ts';
import type { AdmissionAttributes } from '../chain.ts';
import { authorizerOf } from '../dynamic/authorizer.ts';
import type { DynamicDeps } from '../dynamic/deps.ts';
import {
  matchesNamespace,
  matchesObject,
  matchingRule,
  type RuleMatch,
} from '../dynamic/matching.ts';
import { admissionRequest, Versions } from '../dynamic/request.ts';
import type { PolicyVariables } from './compiled.ts';

const costOfATurn = 20_000;

export class PolicyRequest {
  readonly versions: Versions;
  readonly #deps: DynamicDeps;
  readonly #attributes: AdmissionAttributes;
  #namespace: Promise<KubeObject | undefined> | undefined;
  #left = policiesBudget;
  #spent = 0;

  constructor(deps: DynamicDeps, attributes: AdmissionAttributes) {
    this.#deps = deps;
    this.#attributes = attributes;
    this.versions = new Versions(attributes, deps.kinds);
  }

  /** Where nothing is said, everything matches. Throws when the namespace is not there whose labels count. */
  async matches(match: MatchResources): Promise<RuleMatch | undefined> {
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
    return (await matchesNamespace(match, attributes, reader)) ? found : undefined;
  }

  /** All but `params`, in the version that matched. Throws a StatusError. */
  async variables(expressions: AdmissionExpressions, match: RuleMatch): Promise<PolicyVariables> {
    const attributes = this.#attributes;
    const objects = await this.versions.in(match);
    const namespaceObject = await this.#namespaceObject();
    return {
      object: expressions.value(objects.object),
      oldObject: expressions.value(objects.oldObject),
      request: expressions.value(admissionRequest(attributes, match)),
      namespaceObject: expressions.value(namespaceObject),
      authorizer: authorizerOf(attributes, this.#deps.authorize),
    };
  }

  /** Runs expressions; others have their turn after every few milliseconds of this. What fails costs as well. */
  async counted<T>(expressions: AdmissionExpressions, work: () => T): Promise<T> {
    if (this.#spent >= costOfATurn) {
      this.#spent = 0;
      await this.#deps.nextTurn();
    }
    const { value: outcome, cost } = expressions.counted(this.#left, () => outcomeOf(work));
    this.#left -= cost;
    this.#spent += cost;
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  }

  /** Null for what is in no namespace; a Namespace is in none. Throws 404. */
  #namespaceObject(): Promise<KubeObject | undefined> {
    const { namespace } = this.#attributes;
    if (namespace === '') return Promise.resolve(undefined);
    this.#namespace ??= readNamespace(this.#deps, namespace);
    return this.#namespace;
  }
}

function outcomeOf<T>(work: () => T): { readonly value: T } | { readonly error: unknown } {
  try {
    return { value: work() };
  } catch (error) {
    return { error };
  }
}

/** Without what says nothing of it. */
async function readNamespace({ reader }: DynamicDeps, name: string): Promise<KubeObject> {
  const namespaces = { group: '', version: 'v1', resource: 'namespaces' };
  const found = await reader.get(namespaces, '', name);
  if (found === undefined) throw notFound(namespaces, name);
  const { managedFields: _m, ownerReferences: _o, ...metadata } = found.metadata;
  return { ...found, metadata };
}
