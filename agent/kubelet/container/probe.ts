// One shot of a probe or hook: exec, HTTP, TCP, gRPC. What counts as success and how failures read.
// Source: kubernetes pkg/probe/{exec,tcp}, pkg/kubelet/prober/prober.go.
import { connect } from 'node:net';
import type { Container, HTTPGetAction, LifecycleHandler, Probe } from '#kube/api/core.ts';
import type { IntOrString } from '#kube/api/scalars.ts';
import { isRuntimeError, type Runtime } from '../../runtime/runtime.ts';
import { messageOf } from '../../error-message.ts';
import { connectionFailure } from './connection-failure.ts';
import { grpcProbe } from './grpc-probe.ts';
import { httpProbe } from './http-probe.ts';

export interface ProbeTarget {
  readonly container: Container;
  readonly containerId: string;
  readonly podIp: string;
}

export interface ProbeOutcome {
  readonly isSuccess: boolean;
  /** What is worth telling when it failed. */
  readonly output: string;
  /** Worth telling though it succeeded. */
  readonly warning?: string;
}

type Handler = Pick<Probe & LifecycleHandler, 'exec' | 'httpGet' | 'tcpSocket' | 'grpc'>;

export class ProbeRunner {
  readonly #runtime: Pick<Runtime, 'exec'>;

  constructor(runtime: Pick<Runtime, 'exec'>) {
    this.#runtime = runtime;
  }

  /** Never throws: whatever goes wrong is a failure with its reason. */
  async run(handler: Handler, target: ProbeTarget, timeoutMs: number): Promise<ProbeOutcome> {
    try {
      if (handler.exec !== undefined)
        return await this.#exec(handler.exec.command ?? [], target, timeoutMs);
      if (handler.httpGet !== undefined) return await httpGet(handler.httpGet, target, timeoutMs);
      if (handler.tcpSocket !== undefined) {
        const { host, port } = handler.tcpSocket;
        return await tcpProbe(host ?? target.podIp, portNumber(port, target.container), timeoutMs);
      }
      if (handler.grpc !== undefined) {
        const { port, service = '' } = handler.grpc;
        const signal = AbortSignal.timeout(timeoutMs);
        return await grpcProbe({ host: target.podIp, port, service, timeoutMs, signal });
      }
      return { isSuccess: false, output: 'missing probe handler' };
    } catch (error) {
      return { isSuccess: false, output: messageOf(error) };
    }
  }

  async #exec(
    command: readonly string[],
    target: ProbeTarget,
    timeoutMs: number,
  ): Promise<ProbeOutcome> {
    try {
      const result = await this.#runtime.exec(target.containerId, command, timeoutMs);
      return { isSuccess: result.exitCode === 0, output: result.output };
    } catch (error) {
      if (!isRuntimeError(error, 'timeout')) throw error;
      return { isSuccess: false, output: `command ${quote(command)} timed out` };
    }
  }
}

function quote(command: readonly string[]): string {
  return JSON.stringify(command.join(' '));
}

/** A number, a number as text, or the name of one of the container's ports. */
export function portNumber(port: IntOrString, container: Container): number {
  const number = Number(port);
  if (Number.isInteger(number)) return number;
  const named = container.ports?.find((entry) => entry.name === port);
  if (named !== undefined) return named.containerPort;
  throw new Error(`couldn't find port: ${JSON.stringify(port)}`);
}

function httpGet(
  action: HTTPGetAction,
  target: ProbeTarget,
  timeoutMs: number,
): Promise<ProbeOutcome> {
  const scheme = (action.scheme ?? 'HTTP').toLowerCase();
  const host = action.host ?? target.podIp;
  const port = portNumber(action.port, target.container);
  const path = action.path ?? '';
  const headers: Record<string, string> = { 'user-agent': 'kube-probe/1.35', accept: '*/*' };
  for (const { name, value } of action.httpHeaders ?? []) headers[name.toLowerCase()] = value;
  const url = new URL(`${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`);
  const at = new URL(path.startsWith('/') ? path.replace(/^\/+/, '/') : `/${path}`, url);
  return httpProbe({ url: at, headers, timeoutMs });
}

function tcpProbe(host: string, port: number, timeoutMs: number): Promise<ProbeOutcome> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: timeoutMs });
    const end = (isSuccess: boolean, why: string) => {
      socket.destroy();
      resolve({ isSuccess, output: `dial tcp ${host}:${port}: ${why}` });
    };
    socket.once('connect', () => end(true, ''));
    socket.once('timeout', () => end(false, 'i/o timeout'));
    socket.once('error', (error) => end(false, connectionFailure(error)));
  });
}
