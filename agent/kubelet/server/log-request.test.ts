import { describe, expect, it } from 'vitest';
import type { ContainerStatus, Pod } from '#kube/api/core.ts';
import { loggedContainerId, parseLogQuery } from './log-request.ts';

const nowMs = Date.parse('2026-11-23T12:00:00Z');
const parse = (text: string) => parseLogQuery(new URLSearchParams(text), nowMs);

describe('a log request', () => {
  const cases = [
    { text: '', want: {} },
    { text: 'follow=true&timestamps=true', want: { follow: true, timestamps: true } },
    { text: 'follow=false&tailLines=0', want: { tailLines: 0 } },
    { text: 'sinceSeconds=60', want: { sinceMs: nowMs - 60_000 } },
    { text: 'sinceTime=2026-11-23T11:00:00Z', want: { sinceMs: nowMs - 3_600_000 } },
    { text: 'limitBytes=10&previous=true', want: { limitBytes: 10, previous: true } },
  ];
  it.each(cases)('"$text" is understood', ({ text, want }) => {
    expect(parse(text)).toEqual({ follow: false, previous: false, timestamps: false, ...want });
  });

  it.each(['tailLines=-1', 'tailLines=x', 'limitBytes=0', 'sinceTime=yesterday'])(
    '%s is refused',
    (text) => {
      expect(() => parse(text)).toThrow();
    },
  );

  it('may not say twice since when', () => {
    expect(() => parse('sinceSeconds=1&sinceTime=2026-11-23T11:00:00Z')).toThrow('at most one of');
  });
});

describe('the container whose log is meant', () => {
  function podOf(status: Partial<ContainerStatus>): Pod {
    const whole = { name: 'c', image: '', imageID: '', ready: false, restartCount: 0, ...status };
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'p' },
      spec: { containers: [] },
      status: { containerStatuses: [whole] },
    };
  }
  const ended = (id: string) => ({ terminated: { exitCode: 1, containerID: `docker://${id}` } });
  const found = [
    { name: 'runs', status: { containerID: 'docker://a', state: { running: {} } }, want: 'a' },
    { name: 'ended', status: { state: ended('b') }, want: 'b' },
    {
      name: 'waits after a crash',
      status: { state: { waiting: {} }, lastState: ended('c') },
      want: 'c',
    },
  ];
  it.each(found)('$name', ({ status, want }) => {
    expect(loggedContainerId(podOf(status), 'c', false)).toBe(want);
  });

  it('before this one, when asked for', () => {
    const pod = podOf({ containerID: 'docker://a', state: { running: {} }, lastState: ended('z') });
    expect(loggedContainerId(pod, 'c', true)).toBe('z');
  });

  const refused = [
    { name: 'x', previous: false, status: {}, want: 'container "x" in pod "p" is not available' },
    {
      name: 'c',
      previous: true,
      status: { state: { running: {} } },
      want: 'previous terminated container "c" in pod "p" not found',
    },
    {
      name: 'c',
      previous: false,
      status: { state: { waiting: { reason: 'ContainerCreating' } } },
      want: 'container "c" in pod "p" is waiting to start: ContainerCreating',
    },
    {
      name: 'c',
      previous: false,
      status: { state: { waiting: { reason: 'ImagePullBackOff' } } },
      want: 'container "c" in pod "p" is waiting to start: trying and failing to pull image',
    },
  ];
  it.each(refused)('$want', ({ name, previous, status, want }) => {
    expect(() => loggedContainerId(podOf(status), name, previous)).toThrow(want);
  });
});
