// Node selector terms: matching a node's labels and name. The API has checked their form.
// Source: kubernetes component-helpers scheduling/corev1/nodeaffinity/nodeaffinity.go.
import type { Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec } from '../api/core.ts';

/** nodeSelector and required node affinity: both must hold. */
export function matchesRequired(spec: PodSpec | undefined, node: Node): boolean {
  const labels = node.metadata.labels ?? {};
  const selected = Object.entries(spec?.nodeSelector ?? {});
  if (!selected.every(([key, value]) => labels[key] === value)) return false;
  const terms = requiredTerms(spec);
  return terms === undefined || terms.some((term) => matchesTerm(term, node));
}

export function requiredTerms(spec: PodSpec | undefined): readonly NodeSelectorTerm[] | undefined {
  const required = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return required?.nodeSelectorTerms;
}

/** A term without requirements matches nothing. */
export function matchesTerm(term: NodeSelectorTerm, node: Node): boolean {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length + matchFields.length === 0) return false;
  const labels = node.metadata.labels ?? {};
  const fields = { 'metadata.name': node.metadata.name };
  return (
    matchExpressions.every((requirement) => matches(requirement, labels)) &&
    matchFields.every((requirement) => matches(requirement, fields))
  );
}

function matches(
  { key, operator, values = [] }: NodeSelectorRequirement,
  labels: Readonly<Record<string, string>>,
): boolean {
  const actual = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'In':
      return actual !== undefined && values.includes(actual);
    case 'NotIn':
      return actual === undefined || !values.includes(actual);
    case 'Exists':
      return actual !== undefined;
    case 'DoesNotExist':
      return actual === undefined;
    case 'Gt':
      return compare(actual, values[0], (a, b) => a > b);
    case 'Lt':
      return compare(actual, values[0], (a, b) => a < b);
    default:
      return false;
  }
}

function compare(
  actual: string | undefined,
  bound: string | undefined,
  holds: (a: number, b: number) => boolean,
): boolean {
  const integer = /^[-+]?\d+$/;
  if (actual === undefined || bound === undefined) return false;
  return integer.test(actual) && integer.test(bound) && holds(Number(actual), Number(bound));
}

/** The only nodes that terms allow by name (daemon pods); undefined when some term names none. */
export function namedNodes(
  terms: readonly NodeSelectorTerm[] | undefined,
): ReadonlySet<string> | undefined {
  if (terms === undefined || terms.length === 0) return undefined;
  const names = new Set<string>();
  for (const { matchFields = [] } of terms) {
    const lists = matchFields
      .filter(({ key, operator }) => key === 'metadata.name' && operator === 'In')
      .map(({ values = [] }) => values);
    const [first, ...rest] = lists;
    if (first === undefined) return undefined;
    for (const name of first) if (rest.every((list) => list.includes(name))) names.add(name);
  }
  return names;
}
