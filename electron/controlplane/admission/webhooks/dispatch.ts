// What mutating and validating webhooks have in common: which ones a request meets, one call, and what
// becomes of a call that failed.
// Source: kubernetes apiserver pkg/admission/plugin/webhook/{generic/webhook.go,accessors.go}.
import type {
  MutatingWebhook,
  MutatingWebhookConfiguration,
  ValidatingWebhook,
} from '#kube/api/admissionregistration.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { uuid } from '#kube/base/random.ts';
import { forbidden, internalError, timeout } from '#kube/machinery/status.ts';
import { WebhookError } from '#kube/machinery/webhook.ts';
import type { AdmissionExpressions, Expression } from '../../cel/admission.ts';
import { requestBudget } from '../../cel/budget.ts';
import { loadExpressions } from '../../cel/engine.ts';
import type { AdmissionAttributes } from '../chain.ts';
import { authorizerOf } from '../dynamic/authorizer.ts';
import { judgeConditions } from '../dynamic/conditions.ts';
import type { DynamicDeps } from '../dynamic/deps.ts';
import {
  matchesNamespace,
  matchesObject,
  matchingRule,
  type RuleMatch,
} from '../dynamic/matching.ts';
import { admissionRequest, type VersionedObjects, type Versions } from '../dynamic/request.ts';
import {
  admissionReview,
  dryRunUnsupported,
  readAnswer,
  rejection,
  reviewVersion,
  type WebhookAnswer,
} from './review.ts';

export type Webhook = ValidatingWebhook & Pick<MutatingWebhook, 'reinvocationPolicy'>;

export interface Hook {
  /** Unlike any other's. */
  readonly id: string;
  readonly webhook: Webhook;
}

const maxCompiled = 1000;

export class WebhookDispatch {
  readonly #deps: DynamicDeps;
  readonly #plural: string;
  readonly #hooks = new WeakMap<KubeObject, readonly Hook[]>();
  /** By its text. */
  readonly #conditions = new Map<string, Expression>();

  constructor(deps: DynamicDeps, plural: string) {
    this.#deps = deps;
    this.#plural = plural;
  }

  /** Of all configurations, in the order of their names. */
  hooks(): readonly Hook[] {
    const configurations = this.#deps.configurations(this.#plural);
    return configurations.length === 0
      ? []
      : configurations.flatMap((configuration) => this.#hooksOf(configuration));
  }

  #hooksOf(configuration: KubeObject): readonly Hook[] {
    const known = this.#hooks.get(configuration);
    if (known !== undefined) return known;
    const { webhooks = [], metadata } = configuration as MutatingWebhookConfiguration;
    const hooks = webhooks.map((webhook, index) => ({
      id: `${metadata.name}/${webhook.name}/${index}`,
      webhook,
    }));
    this.#hooks.set(configuration, hooks);
    return hooks;
  }

  /** In which version the webhook is to be asked; undefined: it is not. Throws a StatusError. */
  async matches(
    { webhook }: Hook,
    attributes: AdmissionAttributes,
    versions: Versions,
  ): Promise<RuleMatch | undefined> {
    const { kinds, reader } = this.#deps;
    const { rules = [], matchPolicy, matchConditions = [] } = webhook;
    const match = matchingRule(rules, matchPolicy, attributes, kinds);
    if (match === undefined || !matchesObject(webhook, attributes)) return undefined;
    if (!(await matchesNamespace(webhook, attributes, reader))) return undefined;
    if (matchConditions.length === 0) return match;
    const objects = await versions.in(match);
    return (await this.#conditionsHold(webhook, { attributes, match, objects }))
      ? match
      : undefined;
  }

  async #conditionsHold(webhook: Webhook, { attributes, match, objects }: Asked): Promise<boolean> {
    const expressions = await loadExpressions();
    const ignoresFailure = webhook.failurePolicy === 'Ignore';
    let conditions: Expression[];
    try {
      conditions = (webhook.matchConditions ?? []).map(({ expression }) =>
        this.#compiled(expressions, expression),
      );
    } catch (error) {
      // One that was stored before expressions were compiled.
      if (ignoresFailure) return false;
      throw forbidden(attributes.resource, attributes.name, (error as Error).message);
    }
    const variables = {
      object: expressions.value(objects.object),
      oldObject: expressions.value(objects.oldObject),
      request: expressions.value(admissionRequest(attributes, match)),
      authorizer: authorizerOf(attributes, this.#deps.authorize),
    };
    const { value: result } = expressions.counted(requestBudget, () =>
      judgeConditions(conditions, variables, { expressions, ignoresFailure }),
    );
    if (result.kind === 'error')
      throw forbidden(attributes.resource, attributes.name, result.message);
    return result.kind === 'yes';
  }

  #compiled(expressions: AdmissionExpressions, text: string): Expression {
    const known = this.#conditions.get(text);
    if (known !== undefined) return known;
    const compiled = expressions.compile(text, 'condition', ['bool']);
    if (this.#conditions.size >= maxCompiled) this.#conditions.clear();
    this.#conditions.set(text, compiled);
    return compiled;
  }

  /**
   * Undefined: it failed, and that does not count. Throws a StatusError when it refuses, and when it
   * fails and that does.
   */
  async call(
    { webhook }: Hook,
    asked: Asked,
    { mayPatch }: { readonly mayPatch: boolean },
  ): Promise<WebhookAnswer | undefined> {
    const { attributes } = asked;
    const { name, sideEffects, failurePolicy } = webhook;
    if (attributes.dryRun && sideEffects !== 'None' && sideEffects !== 'NoneOnDryRun')
      throw dryRunUnsupported(name);
    let answer: WebhookAnswer;
    try {
      answer = await this.#ask(webhook, asked, mayPatch);
    } catch (error) {
      if (!(error instanceof WebhookError)) throw error;
      const failure = new Error(`failed calling webhook "${name}": ${error.message}`);
      if (failurePolicy !== 'Ignore') throw internalError(failure);
      this.#deps.logger.warn('Failed calling webhook, failing open', { webhook: name, error });
      if (attributes.signal?.aborted === true)
        throw timeout('request did not complete within requested timeout');
      return undefined;
    }
    for (const [key, value] of Object.entries(answer.auditAnnotations))
      attributes.annotate?.(`${name}/${key}`, value);
    for (const text of answer.warnings) attributes.warn(text);
    if (!answer.isAllowed) throw rejection(name, answer.result);
    return answer;
  }

  async #ask(
    webhook: Webhook,
    { attributes, match, objects }: Asked,
    mayPatch: boolean,
  ): Promise<WebhookAnswer> {
    const { random, webhooks } = this.#deps;
    const uid = uuid(random);
    const version = reviewVersion(webhook.admissionReviewVersions);
    const { dryRun, options, ...request } = admissionRequest(attributes, match);
    const { object = null, oldObject = null } = objects;
    let review: unknown;
    try {
      review = await webhooks.call({
        address: webhook.clientConfig,
        review: admissionReview(version, { uid, ...request, object, oldObject, dryRun, options }),
        timeoutMs: (webhook.timeoutSeconds ?? 10) * 1000,
        signal: attributes.signal,
      });
    } catch (error) {
      if (!(error instanceof WebhookError)) throw error;
      throw new WebhookError(`failed to call webhook: ${error.message}`);
    }
    try {
      return readAnswer(review, { uid, version, mayPatch });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new WebhookError(`received invalid webhook response: ${why}`);
    }
  }
}

export interface Asked {
  readonly attributes: AdmissionAttributes;
  readonly match: RuleMatch;
  readonly objects: VersionedObjects;
}
