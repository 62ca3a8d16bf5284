// What every request passes through before it reaches a handler, in one list read top to bottom.
// A filter may answer itself, or hand on a changed context; none knows the others. Errors of all
// of them and of the handlers become `kind: Status` in one place.
// Source: kubernetes apiserver pkg/server/config.go DefaultBuildHandlerChain.
import { AssertionError } from '#kube/base/assert.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { uuid, type Random } from '#kube/base/random.ts';
import { internalError, StatusError, timeout, tooManyRequests } from '#kube/machinery/status.ts';
import type { AuditLog } from './audit/audit-log.ts';
import type { Authenticator } from './identity/authentication.ts';
import { forbiddenError } from './identity/authorization.ts';
import type { AuthorizationAttributes, Authorizer } from './identity/authorizer.ts';
import type { ApiHandler, ApiRequest, ApiResponse, RequestInfo, UserInfo } from './http.ts';
import { impersonatedUser, withoutImpersonation } from './identity/impersonation.ts';
import type { FlowControl } from './flowcontrol/flow-control.ts';
import type { ServerMetrics } from './metrics.ts';
import { isLongRunning, onEnd, requestDeadlineMs } from './long-running.ts';
import { parseRequestInfo } from './request-info.ts';
import { isStream } from './response-body.ts';
import { statusResponse } from './status-response.ts';

export interface ChainDeps {
  readonly authenticate: Authenticator;
  readonly authorize: Authorizer;
  /** Requests for resources: the router. */
  readonly resources: (request: ApiRequest, info: RequestInfo) => Promise<ApiResponse>;
  /** Everything else: discovery, OpenAPI, version, health, metrics. */
  readonly paths: ApiHandler;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: ServerMetrics;
  /** None: nothing is audited. */
  readonly audit?: AuditLog;
  readonly flowControl: FlowControl;
  /** Long requests that may be open at once. */
  readonly longRunningMax?: number;
}

/** Watches, followed logs and proxied streams, which may stay open for hours. */
const defaultLongRunningMax = 10_000;

interface Context {
  readonly auditId: string;
  /** Of the answer, whoever gives it; filters add to them. */
  readonly answerHeaders: Record<string, string>;
  readonly request: ApiRequest;
  readonly info: RequestInfo;
}
type Next = (context: Context) => Promise<ApiResponse>;
type Filter = (context: Context, next: Next) => Promise<ApiResponse>;

export function createChain(deps: ChainDeps): ApiHandler {
  const filters: readonly Filter[] = [
    errorsAsStatus(deps.logger),
    requestInfo(),
    measured(deps),
    deadline(deps),
    authentication(deps),
    audited(deps),
    impersonation(deps),
    fairness(deps),
    authorization(deps),
  ];
  const dispatch: Next = ({ request, info }) =>
    info.isResourceRequest ? deps.resources(request, info) : deps.paths(request);
  const whole = filters.reduceRight<Next>(
    (next, filter) => (context) => filter(context, next),
    dispatch,
  );
  return async (request) => {
    const auditId = request.headers['audit-id'] ?? uuid(deps.random);
    const answerHeaders = { 'audit-id': auditId };
    const response = await whole({ request, info: unparsed, auditId, answerHeaders });
    return { ...response, headers: { ...answerHeaders, ...response.headers } };
  };
}

/** Stands in until the request-info filter has run; no filter before it looks. */
const unparsed: RequestInfo = {
  isResourceRequest: false,
  verb: '',
  path: '',
  group: '',
  version: '',
  namespace: '',
  resource: '',
  subresource: '',
  name: '',
  rest: [],
};

function errorsAsStatus(logger: Logger): Filter {
  return async (context, next) => {
    try {
      return await next(context);
    } catch (error) {
      // A programmer's error: the process ends and its supervisor starts it again.
      if (error instanceof AssertionError) throw error;
      if (error instanceof StatusError) return statusResponse(error);
      const { method, path } = context.request;
      logger.error('A request failed unexpectedly', { method, path, error });
      return statusResponse(internalError(error));
    }
  };
}

function requestInfo(): Filter {
  return (context, next) => next({ ...context, info: parseRequestInfo(context.request) });
}

function measured({ clock, metrics, logger }: ChainDeps): Filter {
  // Errors are turned into answers here too, so that they are counted with their code.
  const answered = errorsAsStatus(logger);
  return async (context, next) => {
    const startMs = clock.monotonicMs();
    const { request, info } = context;
    const response = await answered(context, next);
    const isLong = isStreaming(response);
    metrics.observe(info, response.status, isLong ? undefined : clock.monotonicMs() - startMs);
    if (!isLong) return response;
    metrics.longRunning(info, 1);
    return whenStreamEnds(response, request, () => metrics.longRunning(info, -1));
  };
}

/** 60 s, or less if the client says so, until the headers of the answer are there. */
function deadline({ clock }: ChainDeps): Filter {
  return async (context, next) => {
    const { request, info } = context;
    if (isLongRunning(request, info)) return next(context);
    const limitMs = requestDeadlineMs(request.query.get('timeout'));
    const expiry = new AbortController();
    const { signal } = expiry;
    const onAbort = (): void => expiry.abort(request.signal.reason);
    if (request.signal.aborted) onAbort();
    else request.signal.addEventListener('abort', onAbort);
    let isFollowed = false;
    let timer: ReturnType<Clock['timer']> | undefined;
    try {
      return await new Promise<ApiResponse>((resolve, reject) => {
        timer = clock.timer(limitMs, () => {
          reject(timeout(`request did not complete within ${limitMs / 1000}s`));
          expiry.abort();
        });
        next({ ...context, request: { ...request, signal } }).then((response) => {
          // Its body ends when its client goes away.
          isFollowed = isStreaming(response);
          resolve(response);
        }, reject);
      });
    } finally {
      timer?.cancel();
      // A client in this process has one signal for all that it asks in its life.
      if (!isFollowed) request.signal.removeEventListener('abort', onAbort);
    }
  };
}

function authentication({ authenticate, audit }: ChainDeps): Filter {
  return async (context, next) => {
    const { request, auditId } = context;
    let user: UserInfo;
    try {
      user = await authenticate(request);
    } catch (error) {
      audit?.begin(auditId, context, undefined)?.failed(error);
      throw error;
    }
    return next({ ...context, request: { ...request, user } });
  };
}

function audited({ audit }: ChainDeps): Filter {
  return async (context, next) => {
    const entry = audit?.begin(context.auditId, context, context.request.user);
    if (entry === undefined) return next(context);
    let response: ApiResponse;
    try {
      response = await next({ ...context, request: entry.request });
    } catch (error) {
      entry.failed(error);
      throw error;
    }
    if (isStreaming(response)) {
      entry.started(response);
      return whenStreamEnds(response, context.request, () => entry.completed(response));
    }
    entry.completed(response);
    return response;
  };
}

function impersonation({ authorize }: ChainDeps): Filter {
  return async (context, next) => {
    const { request } = context;
    if (request.user === undefined) return next(context);
    const user = impersonatedUser(request, request.user, authorize);
    if (user === undefined) return next(context);
    if (request.audit !== undefined) request.audit.impersonated = user;
    return next({
      ...context,
      request: { ...request, user, headers: withoutImpersonation(request.headers) },
    });
  };
}

const readOnlyVerbs: ReadonlySet<string> = new Set(['get', 'list', 'watch', 'head', 'options']);

const ownUsers: ReadonlySet<string> = new Set([
  'system:kube-scheduler',
  'system:kube-controller-manager',
]);
const ownGroups: ReadonlySet<string> = new Set([
  'system:masters',
  'system:nodes',
  'system:serviceaccounts:kube-system',
]);

/** The cluster's own parts go on working whatever the others do. */
function isOwnPart({ name, groups }: UserInfo): boolean {
  return ownUsers.has(name) || groups.some((group) => ownGroups.has(group));
}

/** Long requests take no seat, since they would keep it; there is a bound on how many there are. */
function fairness(deps: ChainDeps): Filter {
  const { metrics, flowControl, longRunningMax = defaultLongRunningMax } = deps;
  let longRunning = 0;
  return async (context, next) => {
    const { request, info, answerHeaders } = context;
    const { user } = request;
    if (user === undefined) throw internalError('no user found for request');
    if (isLongRunning(request, info)) {
      if (longRunning >= longRunningMax && !isOwnPart(user))
        throw tooManyRequests('Too many requests, please try again later.', 1);
      longRunning += 1;
      return whileAnswered(context, next, () => (longRunning -= 1));
    }
    const deadlineMs = requestDeadlineMs(request.query.get('timeout'));
    const asking = { user, deadlineMs, headers: answerHeaders };
    const seat = await flowControl.take(request, info, asking);
    const kind = readOnlyVerbs.has(info.verb) ? 'readOnly' : 'mutating';
    metrics.inflight(kind, 1);
    return whileAnswered(context, next, () => {
      metrics.inflight(kind, -1);
      seat.release();
    });
  };
}

/** Calls `leave` once, when all of the answer is there or on its way. */
async function whileAnswered(
  context: Context,
  next: Next,
  leave: () => void,
): Promise<ApiResponse> {
  let response: ApiResponse;
  try {
    response = await next(context);
  } catch (error) {
    leave();
    throw error;
  }
  if (isStreaming(response)) return whenStreamEnds(response, context.request, leave);
  leave();
  return response;
}

function authorization({ authorize }: ChainDeps): Filter {
  return async (context, next) => {
    const { request, info } = context;
    if (request.user === undefined) throw internalError('no user found for request');
    const { version: _version, rest: _rest, ...target } = info;
    const attributes: AuthorizationAttributes = {
      ...target,
      user: request.user,
      fieldSelector: request.query.get('fieldSelector'),
      labelSelector: request.query.get('labelSelector'),
    };
    const decision = authorize(attributes);
    if (request.audit !== undefined)
      request.audit.decision = { isAllowed: decision.allowed, reason: decision.reason };
    if (!decision.allowed) throw forbiddenError(attributes, decision.reason);
    return next(context);
  };
}

function isStreaming({ body, connection }: ApiResponse): boolean {
  return connection !== undefined || isStream(body);
}

function whenStreamEnds(
  response: ApiResponse,
  request: ApiRequest,
  callback: () => void,
): ApiResponse {
  const { body, connection } = response;
  if (connection?.destroyed === true) callback();
  else connection?.once('close', callback);
  if (!isStream(body)) return response;
  return { ...response, body: onEnd(body, request.signal, callback) };
}
