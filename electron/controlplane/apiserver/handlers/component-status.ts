// ComponentStatuses: whether the parts of the control plane are well, asked when somebody looks.
// Differs: scheduler and controllers are no servers of their own. They run wherever the store has its
// leader, and a process whose scheduler or controller fails ends; so they are well when it answers.
// Source: kubernetes pkg/registry/core/componentstatus/rest.go.
import type { ComponentStatus } from '#kube/api/core.ts';
import { notFound } from '#kube/machinery/status.ts';
import { objectMatcher } from '../../registry/selection.ts';
import type { ApiResponse } from '../http.ts';
import { parseListQuery } from './options.ts';
import { outputForm, respondComputed, respondComputedList } from './respond.ts';
import type { RequestScope } from './scope.ts';

const names = ['scheduler', 'controller-manager', 'etcd-0'];

export async function handleComponentGet(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { name } = scope.info;
  if (!names.includes(name)) throw notFound({ group: '', resource: 'componentstatuses' }, name);
  return respondComputed(scope, componentStatus(name, await scope.deps.storeProblem()));
}

export async function handleComponentList(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const selection = parseListQuery(scope.request.query, '');
  const isAsked = objectMatcher(scope.definition, selection);
  const problem = await scope.deps.storeProblem();
  const all = names.map((name) => componentStatus(name, problem));
  return respondComputedList(scope, all.filter(isAsked));
}

function componentStatus(name: string, problem: string | undefined): ComponentStatus {
  const healthy =
    problem === undefined
      ? { type: 'Healthy', status: 'True', message: 'ok' }
      : { type: 'Healthy', status: 'False', message: problem, error: problem };
  return {
    apiVersion: 'v1',
    kind: 'ComponentStatus',
    metadata: { name },
    conditions: [healthy],
  };
}
