// `authorizer` in expressions: may the user of the request do this and that?
// Differs: selectors narrow nothing here, since no authorizer of ours looks at them.
// Source: kubernetes apiserver pkg/cel/library/authz.go.
import type { Environment } from '@marcbachmann/cel-js';
import { isDns1123Label, isDns1123Subdomain } from '#kube/machinery/names.ts';
import type { Budget } from './budget.ts';

export interface ResourceQuestion {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
}
export interface PathQuestion {
  readonly verb: string;
  readonly path: string;
}
export interface Answer {
  readonly allowed: boolean;
  readonly reason: string;
}
/** `account`: in whose place of the user's is asked, as `namespace/name`. */
export type Ask = (question: ResourceQuestion | PathQuestion, account?: string) => Answer;

/** One question costs this much: it goes through the rules of all bindings. */
const questionCost = 1000;

class ResourceCheck {
  readonly ask: Ask;
  readonly account: string | undefined;
  readonly asked: Omit<ResourceQuestion, 'verb'>;
  constructor(ask: Ask, account: string | undefined, asked: Omit<ResourceQuestion, 'verb'>) {
    this.ask = ask;
    this.account = account;
    this.asked = asked;
  }

  with(part: Partial<Omit<ResourceQuestion, 'verb'>>): ResourceCheck {
    return new ResourceCheck(this.ask, this.account, { ...this.asked, ...part });
  }
}

export class Authorizer {
  readonly ask: Ask;
  readonly account: string | undefined;
  /** A check of what the request itself is about. */
  readonly requestResource: ResourceCheck;
  constructor(ask: Ask, request: Omit<ResourceQuestion, 'verb'>, account?: string) {
    this.ask = ask;
    this.account = account;
    this.requestResource = new ResourceCheck(ask, account, request);
  }
}

class GroupCheck {
  readonly of: Authorizer;
  readonly group: string;
  constructor(of: Authorizer, group: string) {
    this.of = of;
    this.group = group;
  }
}
class PathCheck {
  readonly of: Authorizer;
  readonly path: string;
  constructor(of: Authorizer, path: string) {
    this.of = of;
    this.path = path;
  }
}
class Decision {
  readonly answer: Answer;
  constructor(answer: Answer) {
    this.answer = answer;
  }
}

export function registerAuthorizer(env: Environment, budget: Budget): void {
  env.registerType('ResourceCheck', ResourceCheck);
  env.registerType('Authorizer', {
    ctor: Authorizer,
    fields: { requestResource: 'ResourceCheck' },
  });
  env.registerType('GroupCheck', GroupCheck);
  env.registerType('PathCheck', PathCheck);
  env.registerType('Decision', Decision);
  env.registerFunction('Authorizer.path(string): PathCheck', (one: Authorizer, path: string) => {
    if (path.trim() === '') throw new Error('path must not be empty');
    return new PathCheck(one, path);
  });
  env.registerFunction(
    'Authorizer.group(string): GroupCheck',
    (one: Authorizer, group: string) => new GroupCheck(one, group),
  );
  env.registerFunction(
    'Authorizer.serviceAccount(string, string): Authorizer',
    (one: Authorizer, namespace: string, name: string) => {
      if (isDns1123Subdomain(name).length > 0) throw new Error('Invalid service account name');
      if (isDns1123Label(namespace).length > 0)
        throw new Error('Invalid service account namespace');
      return new Authorizer(one.ask, one.requestResource.asked, `${namespace}/${name}`);
    },
  );
  env.registerFunction(
    'GroupCheck.resource(string): ResourceCheck',
    ({ of: { ask, account }, group }: GroupCheck, resource: string) => {
      if (resource.trim() === '') throw new Error('resource must not be empty');
      const asked = { group, resource, subresource: '', namespace: '', name: '' };
      return new ResourceCheck(ask, account, asked);
    },
  );
  for (const part of ['subresource', 'namespace', 'name'] as const)
    env.registerFunction(
      `ResourceCheck.${part}(string): ResourceCheck`,
      (check: ResourceCheck, value: string) => check.with({ [part]: value }),
    );
  for (const selector of ['fieldSelector', 'labelSelector'])
    env.registerFunction(
      `ResourceCheck.${selector}(string): ResourceCheck`,
      (check: ResourceCheck) => check,
    );
  env.registerFunction(
    'ResourceCheck.check(string): Decision',
    ({ ask, account, asked }: ResourceCheck, verb: string) => {
      budget.spend(questionCost);
      return new Decision(ask({ ...asked, verb }, account));
    },
  );
  env.registerFunction(
    'PathCheck.check(string): Decision',
    ({ of: { ask, account }, path }: PathCheck, verb: string) => {
      budget.spend(questionCost);
      return new Decision(ask({ path, verb }, account));
    },
  );
  env.registerFunction('Decision.allowed(): bool', ({ answer }: Decision) => answer.allowed);
  env.registerFunction('Decision.reason(): string', ({ answer }: Decision) => answer.reason);
  // Ours never fails: it answers or refuses.
  env.registerFunction('Decision.errored(): bool', () => false);
  env.registerFunction('Decision.error(): string', () => '');
}
