// Label selectors: matching, the text form of URLs, and the object form of specs.
// Parsing the text lives in selector-parser.ts, single requirements in label-requirement.ts.
// Source: kubernetes apimachinery pkg/labels/selector.go, pkg/apis/meta/v1/helpers.go.
import type { LabelSelector } from '../api/meta.ts';
import {
  holds,
  makeRequirement,
  requirementText,
  type LabelOperator,
  type LabelRequirement,
  type Labels,
} from './label-requirement.ts';
import { parseRequirements } from './selector-parser.ts';
import { badRequest } from './status.ts';

export type { LabelRequirement, Labels };

export interface LabelMatcher {
  /** Absent labels are no labels. */
  matches(labels: Labels | undefined): boolean;
  /** The text form; parsing it gives an equal matcher. '' selects everything. */
  toString(): string;
  /** True when it selects every object. */
  readonly isEverything: boolean;
  /** Undefined for the matcher of no object at all. */
  readonly requirements: readonly LabelRequirement[] | undefined;
}

/** Selects everything. */
export const everything: LabelMatcher = matcherOf([]);

/** Selects nothing: what an absent LabelSelector means. */
export const nothing: LabelMatcher = {
  matches: () => false,
  toString: () => '',
  isEverything: false,
  requirements: undefined,
};

/** Parses `app=web,tier in (a,b),!old`. Throws 400 with Kubernetes' message. */
export function parseLabelSelector(text: string): LabelMatcher {
  return matcherOf(parseRequirements(text));
}

/** A spec's selector: undefined selects nothing, an empty one everything. Throws 400 if illegal. */
export function labelSelectorMatcher(selector: LabelSelector | undefined): LabelMatcher {
  if (selector === undefined) return nothing;
  const requirements = Object.entries(selector.matchLabels ?? {}).map(([key, value]) =>
    makeRequirement(key, '=', [value]),
  );
  for (const expression of selector.matchExpressions ?? []) {
    const operator = expressionOperators.get(expression.operator);
    if (operator === undefined)
      throw badRequest(`"${expression.operator}" is not a valid label selector operator`);
    requirements.push(makeRequirement(expression.key, operator, expression.values ?? []));
  }
  return matcherOf(requirements);
}

/** One question without keeping a matcher; for many objects make the matcher once. */
export function matchesLabelSelector(
  selector: LabelSelector | undefined,
  labels?: Labels,
): boolean {
  return labelSelectorMatcher(selector).matches(labels);
}

/** A plain map of labels as a selector (Service, ReplicationController): all must be equal. */
export function labelsMatcher(labels: Labels): LabelMatcher {
  const requirements = Object.entries(labels).map(([key, value]) => ({
    key,
    operator: '=' as const,
    values: [value],
  }));
  return matcherOf(requirements);
}

/** A LabelSelector in text form, as in Scale's status.selector. */
export function formatLabelSelector(selector: LabelSelector | undefined): string {
  return labelSelectorMatcher(selector).toString();
}

const expressionOperators: ReadonlyMap<string, LabelOperator> = new Map([
  ['In', 'in'],
  ['NotIn', 'notin'],
  ['Exists', 'exists'],
  ['DoesNotExist', '!'],
]);

function matcherOf(given: readonly LabelRequirement[]): LabelMatcher {
  const requirements = given.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  return {
    matches: (labels = {}) => requirements.every((requirement) => holds(requirement, labels)),
    toString: () => requirements.map(requirementText).join(','),
    isEverything: requirements.length === 0,
    requirements,
  };
}
