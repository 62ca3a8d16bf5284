import { describe, expect, it } from 'vitest';
import type { ContainerState, Pod } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { builtInResources } from '../resources.ts';
import { age, humanDuration } from './age.ts';
import { podColumns, summarizePod } from './pods.ts';

const now = Date.parse('2026-11-23T12:00:00Z');
const ago = (minutes: number) => rfc3339(now - minutes * 60_000);

/** The cells of `kubectl get -o wide` by column. */
function cells(kind: string, object: object): Record<string, unknown> {
  const columns = builtInResources.find((resource) => resource.kind === kind)?.columns ?? [];
  const whole = { metadata: { name: 'it', creationTimestamp: ago(5) }, ...object };
  return Object.fromEntries(
    columns.map((column) => [column.name, column.cell(whole as KubeObject, now)]),
  );
}

describe('durations', () => {
  const second = 1000;
  const [minute, hour, day] = [60 * second, 3600 * second, 86_400 * second];
  const cases: readonly (readonly [ms: number, text: string])[] = [
    [-5 * second, '<invalid>'],
    [-second / 2, '0s'],
    [0, '0s'],
    [119 * second, '119s'],
    [2 * minute, '2m'],
    [9 * minute + 59 * second, '9m59s'],
    [10 * minute + 5 * second, '10m'],
    [179 * minute, '179m'],
    [3 * hour + 5 * minute, '3h5m'],
    [8 * hour, '8h'],
    [47 * hour, '47h'],
    [2 * day, '2d'],
    [7 * day + 23 * hour, '7d23h'],
    [729 * day, '729d'],
    [2 * 365 * day, '2y'],
    [3 * 365 * day + 10 * day, '3y10d'],
    [9 * 365 * day + 10 * day, '9y'],
  ];
  it.each(cases)('%d ms is %s', (ms, text) => expect(humanDuration(ms)).toBe(text));

  it('of a missing timestamp are unknown', () => expect(age(undefined, now)).toBe('<unknown>'));
});

describe('a pod shows', () => {
  const container = (name: string, state: ContainerState, more: object = {}) => ({
    name,
    image: '',
    imageID: '',
    ready: state.running !== undefined,
    restartCount: 0,
    state,
    ...more,
  });
  const pod = (fields: { status?: object; spec?: object; metadata?: object }): Pod => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'web',
      ...fields.metadata,
    },
    spec: {
      containers: [{ name: 'web' }],
      ...fields.spec,
    },
    status: {
      phase: 'Running',
      ...fields.status,
    },
  });
  const withContainers = (...containerStatuses: object[]) => ({ status: { containerStatuses } });
  const waiting = (reason: string) => ({ waiting: { reason } });
  const ended = (exitCode: number, reason?: string) => ({
    terminated: reason === undefined ? { exitCode } : { exitCode, reason },
  });
  const init = (initContainerStatuses: object[], initContainers: object[], more: object = {}) => ({
    spec: { initContainers },
    status: { phase: 'Pending', initContainerStatuses, ...more },
  });
  const deleted = { metadata: { deletionTimestamp: ago(1) } };

  const cases: readonly { name: string; given: Parameters<typeof pod>[0]; want: string }[] = [
    { name: 'its phase first', given: { status: { phase: 'Pending' } }, want: '0/1 Pending 0' },
    {
      name: 'its own reason before the phase',
      given: { status: { phase: 'Failed', reason: 'Evicted' } },
      want: '0/1 Evicted 0',
    },
    {
      name: 'that it runs',
      given: withContainers(container('web', { running: {} })),
      want: '1/1 Running 0',
    },
    {
      name: 'what a container waits for',
      given: withContainers(container('web', waiting('CrashLoopBackOff'), { restartCount: 3 })),
      want: '0/1 CrashLoopBackOff 3',
    },
    {
      name: 'no restarts where a status does not say how many',
      given: withContainers(container('web', { running: {} }, { restartCount: undefined })),
      want: '1/1 Running 0',
    },
    {
      name: 'how a container ended',
      given: withContainers(container('web', ended(1, 'Error'))),
      want: '0/1 Error 0',
    },
    {
      name: 'the exit code when there is no reason',
      given: withContainers(container('web', ended(137))),
      want: '0/1 ExitCode:137 0',
    },
    {
      name: 'NotReady when one container is done and another is not ready to serve',
      given: withContainers(
        container('done', ended(0, 'Completed')),
        container('web', { running: {} }),
      ),
      want: '1/1 NotReady 0',
    },
    {
      name: 'Running when one is done and the pod is ready',
      given: {
        status: {
          containerStatuses: [
            container('done', ended(0, 'Completed')),
            container('web', { running: {} }),
          ],
          conditions: [{ type: 'Ready', status: 'True' }],
        },
      },
      want: '1/1 Running 0',
    },
    {
      name: 'how far initialization is',
      given: init(
        [container('a', ended(0)), container('b', { running: {} })],
        [{ name: 'a' }, { name: 'b' }],
      ),
      want: '0/1 Init:1/2 0',
    },
    {
      name: 'why initialization waits',
      given: init([container('a', waiting('ImagePullBackOff'))], [{ name: 'a' }]),
      want: '0/1 Init:ImagePullBackOff 0',
    },
    {
      name: 'why initialization failed',
      given: init([container('a', ended(2))], [{ name: 'a' }]),
      want: '0/1 Init:ExitCode:2 0',
    },
    {
      name: 'sidecars among its containers',
      given: init(
        [container('proxy', { running: {} }, { started: true, restartCount: 2 })],
        [{ name: 'proxy', restartPolicy: 'Always' }],
        { phase: 'Running', containerStatuses: [container('web', { running: {} })] },
      ),
      want: '2/2 Running 2',
    },
    {
      name: 'that it is being deleted',
      given: { ...withContainers(container('web', { running: {} })), ...deleted },
      want: '1/1 Terminating 0',
    },
    {
      name: 'its end rather than its deletion when it is over',
      given: { status: { phase: 'Succeeded' }, ...deleted },
      want: '0/1 Succeeded 0',
    },
    {
      name: 'Unknown when its node is lost',
      given: { status: { reason: 'NodeLost' }, ...deleted },
      want: '0/1 Unknown 0',
    },
    {
      name: 'what holds it back from being scheduled',
      given: {
        status: {
          phase: 'Pending',
          conditions: [{ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated' }],
        },
      },
      want: '0/1 SchedulingGated 0',
    },
  ];
  it.each(cases)('$name', ({ given, want }) => {
    const { readyContainers, totalContainers, status, restarts } = summarizePod(pod(given));
    expect(`${readyContainers}/${totalContainers} ${status} ${restarts}`).toBe(want);
  });

  it('when it was last restarted', () => {
    const restarted = (name: string, minutes: number) =>
      container(
        name,
        { running: {} },
        { restartCount: 1, lastState: { terminated: { exitCode: 1, finishedAt: ago(minutes) } } },
      );
    const object = pod(withContainers(restarted('a', 3), restarted('b', 30)));
    const restarts = podColumns.find((column) => column.name === 'Restarts');
    expect(restarts?.cell(object, now)).toBe('2 (3m ago)');
  });

  it('with -o wide where it is', () => {
    const object = {
      spec: {
        containers: [{ name: 'web' }],
        nodeName: 'pi',
        readinessGates: [{ conditionType: 'a' }, { conditionType: 'b' }],
      },
      status: {
        podIPs: [{ ip: '10.244.0.7' }],
        conditions: [{ type: 'a', status: 'True' }],
      },
    };
    const { IP, Node, ...rest } = cells('Pod', object);
    expect([IP, Node, rest['Nominated Node'], rest['Readiness Gates']]).toEqual([
      '10.244.0.7',
      'pi',
      '<none>',
      '1/2',
    ]);
  });
});

describe('columns of', () => {
  const template = {
    spec: { containers: [{ name: 'web', image: 'nginx' }], nodeSelector: { disk: 'ssd' } },
  };
  const selector = { matchLabels: { b: '2', a: '1' } };
  const owned = { Containers: 'web', Images: 'nginx', Selector: 'a=1,b=2' };
  const cases: readonly { kind: string; object: object; want: object }[] = [
    {
      kind: 'Deployment',
      object: {
        spec: { replicas: 3, template, selector },
        status: { readyReplicas: 2, updatedReplicas: 1 },
      },
      want: { Name: 'it', Ready: '2/3', 'Up-to-date': 1, Available: 0, Age: '5m', ...owned },
    },
    {
      kind: 'ReplicaSet',
      object: { spec: { replicas: 3, template, selector }, status: { replicas: 2 } },
      want: { Name: 'it', Desired: 3, Current: 2, Ready: 0, Age: '5m', ...owned },
    },
    {
      kind: 'DaemonSet',
      object: { spec: { template, selector }, status: { desiredNumberScheduled: 2 } },
      want: {
        Name: 'it',
        Desired: 2,
        Current: 0,
        Ready: 0,
        'Up-to-date': 0,
        Available: 0,
        'Node Selector': 'disk=ssd',
        Age: '5m',
        ...owned,
      },
    },
    {
      kind: 'Node',
      object: {
        metadata: {
          name: 'pi',
          creationTimestamp: ago(5),
          labels: { 'node-role.kubernetes.io/control-plane': '', 'kubernetes.io/role': 'lab' },
        },
        spec: { unschedulable: true },
        status: {
          conditions: [{ type: 'Ready', status: 'True' }],
          addresses: [{ type: 'InternalIP', address: '192.168.1.7' }],
          nodeInfo: { kubeletVersion: 'v1.35.0', osImage: 'Debian', kernelVersion: '6.1' },
        },
      },
      want: {
        Name: 'pi',
        Status: 'Ready,SchedulingDisabled',
        Roles: 'control-plane,lab',
        Age: '5m',
        Version: 'v1.35.0',
        'Internal-IP': '192.168.1.7',
        'External-IP': '<none>',
        'OS-Image': 'Debian',
        'Kernel-Version': '6.1',
        'Container-Runtime': '<unknown>',
      },
    },
    {
      kind: 'Service',
      object: {
        spec: {
          type: 'NodePort',
          clusterIPs: ['10.96.0.9'],
          ports: [
            {
              port: 80,
              nodePort: 30080,
              protocol: 'TCP',
            },
            {
              port: 53,
              protocol: 'UDP',
            },
          ],
        },
      },
      want: {
        Name: 'it',
        Type: 'NodePort',
        'Cluster-IP': '10.96.0.9',
        'External-IP': '<none>',
        'Port(s)': '80:30080/TCP,53/UDP',
        Age: '5m',
        Selector: '<none>',
      },
    },
    {
      kind: 'EndpointSlice',
      object: {
        addressType: 'IPv4',
        ports: [{ port: 80 }],
        endpoints: ['1', '2', '3', '4', '5'].map((ip) => ({ addresses: [ip] })),
      },
      want: {
        Name: 'it',
        AddressType: 'IPv4',
        Ports: '80',
        Age: '5m',
        Endpoints: '1,2,3 + 2 more...',
      },
    },
    {
      kind: 'Event',
      object: {
        type: 'Warning',
        reason: 'BackOff',
        message: ' waits\n',
        count: 4,
        involvedObject: {
          kind: 'Pod',
          name: 'web',
          fieldPath: 'spec.containers{web}',
        },
        source: {
          component: 'kubelet',
          host: 'pi',
        },
        firstTimestamp: ago(9),
        lastTimestamp: ago(2),
      },
      want: {
        'Last Seen': '2m',
        Type: 'Warning',
        Reason: 'BackOff',
        Object: 'pod/web',
        Subobject: 'spec.containers{web}',
        Source: 'kubelet, pi',
        Message: 'waits',
        'First Seen': '9m',
        Count: 4,
        Name: 'it',
      },
    },
    {
      kind: 'ConfigMap',
      object: { data: { a: '' }, binaryData: { b: '' } },
      want: { Name: 'it', Data: 2, Age: '5m' },
    },
    {
      kind: 'ControllerRevision',
      object: {
        metadata: {
          name: 'it',
          creationTimestamp: ago(5),
          ownerReferences: [
            {
              apiVersion: 'apps/v1',
              kind: 'DaemonSet',
              name: 'web',
              controller: true,
            },
          ],
        },
        revision: 2,
      },
      want: { Name: 'it', Controller: 'daemonset.apps/web', Revision: 2, Age: '5m' },
    },
  ];
  it.each(cases)('$kind', ({ kind, object, want }) => {
    expect(cells(kind, object)).toEqual(want);
  });
});
