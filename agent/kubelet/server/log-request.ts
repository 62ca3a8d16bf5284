// Pure: which container's log is meant and what part of it; what is wrong with the request in
// Kubernetes' wording. Source: kubernetes pkg/kubelet/server/server.go (getContainerLogs),
// pkg/kubelet/kubelet_pods.go (validateContainerLogStatus).
import type { ContainerStatus, Pod } from '#kube/api/core.ts';

export interface LogQuery {
  readonly follow: boolean;
  readonly previous: boolean;
  readonly timestamps: boolean;
  readonly tailLines?: number;
  readonly limitBytes?: number;
  readonly sinceMs?: number;
}

/** Told to the client as text with this HTTP status. */
export class LogRequestError extends Error {
  override readonly name = 'LogRequestError';
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Throws LogRequestError. */
export function parseLogQuery(query: URLSearchParams, nowMs: number): LogQuery {
  const sinceSeconds = count(query, 'sinceSeconds', 1);
  const sinceTime = query.get('sinceTime');
  if (sinceSeconds !== undefined && sinceTime !== null)
    throw new LogRequestError(400, 'at most one of `sinceTime` or `sinceSeconds` may be specified');
  const result: { -readonly [key in keyof LogQuery]: LogQuery[key] } = {
    follow: flag(query, 'follow'),
    previous: flag(query, 'previous'),
    timestamps: flag(query, 'timestamps'),
  };
  const tailLines = count(query, 'tailLines', 0);
  if (tailLines !== undefined) result.tailLines = tailLines;
  const limitBytes = count(query, 'limitBytes', 1);
  if (limitBytes !== undefined) result.limitBytes = limitBytes;
  if (sinceSeconds !== undefined) result.sinceMs = nowMs - sinceSeconds * 1000;
  if (sinceTime !== null) {
    result.sinceMs = Date.parse(sinceTime);
    if (Number.isNaN(result.sinceMs))
      throw new LogRequestError(
        400,
        `sinceTime: ${JSON.stringify(sinceTime)} is not an RFC 3339 time`,
      );
  }
  return result;
}

function flag(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  return value !== null && value !== 'false' && value !== '0';
}

function count(query: URLSearchParams, name: string, minimum: number): number | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  const value = Number(text);
  if (Number.isInteger(value) && value >= minimum && text !== '') return value;
  throw new LogRequestError(400, `${name} must be a number of at least ${minimum}`);
}

/** The engine's id of the container. Throws LogRequestError with code 400. */
export function loggedContainerId(pod: Pod, container: string, previous: boolean): string {
  const where = `container ${JSON.stringify(container)} in pod ${JSON.stringify(pod.metadata.name)}`;
  const statuses = [
    ...(pod.status?.containerStatuses ?? []),
    ...(pod.status?.initContainerStatuses ?? []),
    ...(pod.status?.ephemeralContainerStatuses ?? []),
  ];
  const status = statuses.find((entry) => entry.name === container);
  if (status === undefined) throw new LogRequestError(400, `${where} is not available`);
  const last = status.lastState?.terminated?.containerID;
  if (previous) {
    if (last !== undefined) return bareId(last);
    throw new LogRequestError(400, `previous terminated ${where} not found`);
  }
  const id = currentId(status) ?? last;
  if (id !== undefined) return bareId(id);
  throw new LogRequestError(400, `${where} is ${whyNoLog(status)}`);
}

function currentId(status: ContainerStatus): string | undefined {
  if (status.state?.running !== undefined) return status.containerID;
  return status.state?.terminated?.containerID;
}

function whyNoLog({ state = {} }: ContainerStatus): string {
  if (state.terminated !== undefined) return 'terminated';
  const reason = state.waiting?.reason;
  if (reason === 'ErrImagePull') return "waiting to start: image can't be pulled";
  if (reason === 'ImagePullBackOff') return 'waiting to start: trying and failing to pull image';
  return reason === undefined ? 'waiting to start - no logs yet' : `waiting to start: ${reason}`;
}

/** `docker://<id>` → `<id>`. */
function bareId(id: string): string {
  return id.slice(id.indexOf('://') + 3);
}
