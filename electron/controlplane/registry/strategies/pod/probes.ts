// Probes and lifecycle hooks: exactly one handler each, and sane numbers.
// Source: kubernetes pkg/apis/core/validation/validation.go validateProbe, validateHandler.
import type { HTTPGetAction, Lifecycle, LifecycleHandler, Probe } from '#kube/api/core.ts';
import {
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { check, checkNonNegative, checkPort, isHttpHeaderName } from '../text-rules.ts';

export function validateProbe(
  probe: Probe | undefined,
  type: 'liveness' | 'readiness' | 'startup',
  path: FieldPath,
): FieldError[] {
  if (probe === undefined) return [];
  const grace = probe.terminationGracePeriodSeconds;
  const gracePath = path.child('terminationGracePeriodSeconds');
  const errors = [
    ...validateHandler(probe, undefined, path),
    ...checkNonNegative(path.child('initialDelaySeconds'), probe.initialDelaySeconds),
    ...checkNonNegative(path.child('timeoutSeconds'), probe.timeoutSeconds),
    ...checkNonNegative(path.child('periodSeconds'), probe.periodSeconds),
    ...checkNonNegative(path.child('successThreshold'), probe.successThreshold),
    ...checkNonNegative(path.child('failureThreshold'), probe.failureThreshold),
  ];
  if (grace !== undefined && grace <= 0)
    errors.push(invalid(gracePath, grace, 'must be greater than 0'));
  if (type === 'readiness' && grace !== undefined)
    errors.push(invalid(gracePath, grace, 'must not be set for readinessProbes'));
  if (type !== 'readiness' && probe.successThreshold !== 1)
    errors.push(invalid(path.child('successThreshold'), probe.successThreshold, 'must be 1'));
  return errors;
}

export function validateLifecycle(
  lifecycle: Lifecycle | undefined,
  graceSeconds: number | undefined,
  path: FieldPath,
): FieldError[] {
  return (['postStart', 'preStop'] as const).flatMap((hook) => {
    const handler = lifecycle?.[hook];
    return handler === undefined ? [] : validateHandler(handler, graceSeconds, path.child(hook));
  });
}

type Handler = Pick<Probe, 'exec' | 'httpGet' | 'tcpSocket' | 'grpc'> &
  Pick<LifecycleHandler, 'sleep'>;

function validateHandler(
  handler: Handler,
  graceSeconds: number | undefined,
  path: FieldPath,
): FieldError[] {
  const { exec, httpGet, tcpSocket, grpc, sleep } = handler;
  const rules: [string, (() => FieldError[]) | undefined][] = [
    [
      'exec',
      exec &&
        (() =>
          (exec.command ?? []).length === 0 ? [required(path.child('exec', 'command'), '')] : []),
    ],
    ['httpGet', httpGet && (() => validateHttpGet(httpGet, path.child('httpGet')))],
    ['tcpSocket', tcpSocket && (() => checkPort(path.child('tcpSocket', 'port'), tcpSocket.port))],
    ['grpc', grpc && (() => checkPort(path.child('grpc', 'port'), grpc.port))],
    [
      'sleep',
      sleep && (() => validateSleep(sleep.seconds ?? 0, graceSeconds, path.child('sleep'))),
    ],
  ];
  const given = rules.filter(([, rule]) => rule !== undefined);
  if (given.length === 0) return [required(path, 'must specify a handler type')];
  return given.flatMap(([name, rule], index) =>
    index === 0
      ? (rule?.() ?? [])
      : [forbidden(path.child(name), 'may not specify more than 1 handler type')],
  );
}

function validateHttpGet(action: HTTPGetAction, path: FieldPath): FieldError[] {
  const { path: urlPath = '', scheme = '', httpHeaders = [] } = action;
  const errors = urlPath === '' ? [required(path.child('path'), '')] : [];
  errors.push(...checkPort(path.child('port'), action.port));
  if (scheme !== 'HTTP' && scheme !== 'HTTPS')
    errors.push(notSupported(path.child('scheme'), scheme, ['HTTP', 'HTTPS']));
  for (const { name = '' } of httpHeaders)
    errors.push(...check(path.child('httpHeaders'), name, isHttpHeaderName(name)));
  return errors;
}

function validateSleep(
  seconds: number,
  graceSeconds: number | undefined,
  path: FieldPath,
): FieldError[] {
  if (graceSeconds === undefined || (seconds >= 0 && seconds <= graceSeconds)) return [];
  const detail = `must be non-negative and less than terminationGracePeriodSeconds (${graceSeconds})`;
  return [invalid(path, seconds, detail)];
}
