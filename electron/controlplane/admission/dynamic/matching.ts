// Which requests a webhook or a policy is asked about: rules, the namespace's labels, the object's labels.
// Source: kubernetes apiserver pkg/admission/plugin/webhook/{generic/webhook.go,predicates},
// pkg/admission/plugin/policy/matching/matching.go.
import type { NamedRuleWithOperations } from '#kube/api/admissionregistration.ts';
import type { LabelSelector } from '#kube/api/meta.ts';
import type { GroupVersionKind, GroupVersionResource, KubeObject } from '#kube/api/object.ts';
import { labelSelectorMatcher } from '#kube/machinery/selector.ts';
import { notFound } from '#kube/machinery/status.ts';
import type { AdmissionAttributes, ObjectReader } from '../chain.ts';
import type { Equivalent, KindVersions } from './deps.ts';

const group = 'admissionregistration.k8s.io';
const questions: ReadonlySet<string> = new Set([
  'authentication.k8s.io/selfsubjectreviews',
  'authentication.k8s.io/tokenreviews',
  'authorization.k8s.io/localsubjectaccessreviews',
  'authorization.k8s.io/selfsubjectaccessreviews',
  'authorization.k8s.io/selfsubjectrulesreviews',
  'authorization.k8s.io/subjectaccessreviews',
]);
const namespaces: GroupVersionResource = { group: '', version: 'v1', resource: 'namespaces' };

/** Nothing may keep anybody from repairing what keeps everybody from everything. */
export function isExempt({ resource }: AdmissionAttributes): boolean {
  return resource.group === group;
}

/** Policies are not asked about questions: who judges by them could be kept from all answers. */
export function isQuestion({ resource }: AdmissionAttributes): boolean {
  return questions.has(`${resource.group}/${resource.resource}`);
}

/** A Namespace counts as being in itself. */
export function namespaceOf({ resource, namespace, name }: AdmissionAttributes): string {
  return isNamespace(resource) ? name : namespace;
}

function isNamespace(resource: GroupVersionResource): boolean {
  return resource.group === '' && resource.resource === 'namespaces';
}

/** The rule's part of the question: nothing is looked up. */
export function matchesRule(
  rule: NamedRuleWithOperations,
  attributes: AdmissionAttributes,
  resource: GroupVersionResource,
): boolean {
  const { operations = [], apiGroups = [], apiVersions = [], resources = [], scope } = rule;
  return (
    matchesScope(scope, attributes, resource) &&
    isOneOf(operations, attributes.operation) &&
    isOneOf(apiGroups, resource.group) &&
    isOneOf(apiVersions, resource.version) &&
    resources.some((text) => matchesResource(text, resource.resource, attributes.subresource))
  );
}

function isOneOf(allowed: readonly string[], value: string): boolean {
  return allowed.includes('*') || allowed.includes(value);
}

function matchesScope(
  scope: string | undefined,
  attributes: AdmissionAttributes,
  resource: GroupVersionResource,
): boolean {
  if (scope === undefined || scope === '*') return true;
  const isClusterWide = isNamespace(resource) || attributes.namespace === '';
  return (scope === 'Cluster') === isClusterWide;
}

function matchesResource(text: string, resource: string, subresource: string): boolean {
  const slash = text.indexOf('/');
  const name = slash < 0 ? text : text.slice(0, slash);
  const sub = slash < 0 ? '' : text.slice(slash + 1);
  return (name === '*' || name === resource) && (sub === '*' || sub === subresource);
}

export interface RuleMatch {
  readonly resource: GroupVersionResource;
  readonly kind: GroupVersionKind;
}

/** In which version the request is meant: its own, or with `Equivalent` another of the same objects. */
export function matchingRule(
  rules: readonly NamedRuleWithOperations[],
  matchPolicy: string | undefined,
  attributes: AdmissionAttributes,
  kinds: KindVersions,
): RuleMatch | undefined {
  const { resource, kind, subresource, name } = attributes;
  const isNamed = ({ resourceNames = [] }: NamedRuleWithOperations): boolean =>
    resourceNames.length === 0 || resourceNames.includes(name);
  const matches = (rule: NamedRuleWithOperations, one: GroupVersionResource): boolean =>
    matchesRule(rule, attributes, one) && isNamed(rule);
  if (rules.some((rule) => matches(rule, resource))) return { resource, kind };
  if (matchPolicy !== 'Equivalent') return undefined;
  const others = kinds.equivalentsOf(resource, subresource);
  for (const rule of rules) {
    const found = others.find((other: Equivalent) => matches(rule, other.resource));
    if (found !== undefined) return found;
  }
  return undefined;
}

interface Selectors {
  readonly namespaceSelector?: LabelSelector;
  readonly objectSelector?: LabelSelector;
}

/** Throws 404 when the labels of a namespace count that is not there. */
export async function matchesNamespace(
  { namespaceSelector }: Selectors,
  attributes: AdmissionAttributes,
  reader: ObjectReader,
): Promise<boolean> {
  const name = namespaceOf(attributes);
  if (name === '') return true;
  const selector = labelSelectorMatcher(namespaceSelector ?? {});
  if (selector.isEverything) return true;
  const namespace = await namespaceObject(attributes, reader);
  if (namespace === undefined) throw notFound(namespaces, name);
  return selector.matches(namespace.metadata.labels);
}

/** What is about to be stored, where the request is about the namespace itself. */
async function namespaceObject(
  attributes: AdmissionAttributes,
  reader: ObjectReader,
): Promise<KubeObject | undefined> {
  const { resource, subresource, operation, object } = attributes;
  if (isNamespace(resource) && subresource === '' && operation !== 'DELETE') return object;
  return reader.get(namespaces, '', namespaceOf(attributes));
}

export function matchesObject({ objectSelector }: Selectors, attributes: AdmissionAttributes) {
  const selector = labelSelectorMatcher(objectSelector ?? {});
  if (selector.isEverything) return true;
  return [attributes.object, attributes.oldObject].some(
    // Options of a connection have no labels to be chosen by.
    (object) => object?.metadata !== undefined && selector.matches(object.metadata.labels),
  );
}
