import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { startTestApi } from '../../../test/setup/api.ts';
import { AuditLog } from './audit/audit-log.ts';
import { FlowControl } from './flowcontrol/flow-control.ts';
import type { ApiRequest } from './http.ts';
import { auditFamilies, flowFamilies, storageFamilies } from './metric-families.ts';
import { ServerMetrics, type Family } from './metrics.ts';
import { parseRequestInfo } from './request-info.ts';

const query = new URLSearchParams();
const request: ApiRequest = {
  method: 'GET',
  path: '/api/v1/pods',
  query,
  headers: {},
  readBody: async () => new Uint8Array(),
  signal: new AbortController().signal,
};
const info = parseRequestInfo(request);
const user = { name: 'alice', groups: ['system:authenticated'] };

function samples(families: readonly Family[]): string[] {
  return new ServerMetrics(families)
    .render()
    .split('\n')
    .filter((line) => !line.startsWith('#') && line !== '');
}

describe('metrics', () => {
  it('tell of seats, queues and who was sent away', async () => {
    const flowControl = new FlowControl({ clock: new ManualClock(), seats: 1 });
    const take = () => flowControl.take(request, info, { user, deadlineMs: 60_000, headers: {} });
    await take();
    const level = 'priority_level="global-default"';
    expect(samples(flowFamilies(flowControl))).toEqual(
      expect.arrayContaining([
        `apiserver_flowcontrol_current_executing_seats{${level}} 1`,
        `apiserver_flowcontrol_current_inqueue_requests{${level}} 0`,
        `apiserver_flowcontrol_nominal_limit_seats{${level}} 1`,
        `apiserver_flowcontrol_dispatched_requests_total{flow_schema="global-default",${level}} 1`,
      ]),
    );
    const gone = { ...request, signal: AbortSignal.abort() };
    const asked = Array.from({ length: 10 }, () =>
      flowControl.take(gone, info, { user, deadlineMs: 60_000, headers: {} }),
    );
    const outcomes = await Promise.allSettled(asked);
    const refused = outcomes.filter(({ status }) => status === 'rejected').length;
    expect(refused).toBeGreaterThan(0);
    expect(samples(flowFamilies(flowControl))).toContain(
      `apiserver_flowcontrol_rejected_requests_total{flow_schema="global-default",${level},reason="cancelled"} ${refused}`,
    );
  });

  it('tell of the audit log', () => {
    const sink = { write: () => false, flushSync: () => undefined };
    const policy = { rules: [{ level: 'Metadata' }] } as const;
    const audit = new AuditLog({ policy, sink, clock: new ManualClock() });
    audit.begin('id', { request, info }, user);
    expect(samples(auditFamilies(audit))).toEqual([
      'apiserver_audit_event_total 0',
      'apiserver_audit_error_total{plugin="log"} 1',
      'apiserver_audit_level_total{level="Metadata"} 1',
    ]);
  });

  it('count what is stored and watched, by kind', async () => {
    const api = await startTestApi();
    const lease = { body: { metadata: { name: 'a' }, spec: {} } };
    const url = '/apis/coordination.k8s.io/v1/namespaces/default/leases';
    expect((await api.request('POST', url, lease)).status).toBe(201);
    const watch = await api.watch(`${url}?watch=true`);
    await watch.next();
    expect(samples(storageFamilies(api.registry))).toEqual([
      'apiserver_storage_objects{resource="leases.coordination.k8s.io"} 1',
      'apiserver_registered_watchers{resource="leases.coordination.k8s.io"} 1',
      'apiserver_watchers 1',
    ]);
    await watch.close();
    await api.stop();
  });
});
