// In which order control planes on machines get another release, and when they don't.
import { describe, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import type { MemberReport } from '#kube/api/flotilla.ts';
import {
  controlPlaneReportAnnotation,
  controlPlaneTargetAnnotation,
  controlPlaneVersionAnnotation,
} from '#kube/machinery/control-planes.ts';
import { nextControlPlane } from './control-plane-plan.ts';
import { isReleaseSource } from './release-source.ts';

const [old, wanted] = ['0.1.0+aaaaaaaaaaaa', '0.2.0+bbbbbbbbbbbb'];
const digest = 'bbbbbbbbbbbb';

function node(name: string, runs: string, told = runs, report?: string): Node {
  const annotations = {
    [controlPlaneVersionAnnotation]: runs,
    [controlPlaneTargetAnnotation]: told,
    ...(report !== undefined && { [controlPlaneReportAnnotation]: report }),
  };
  return { apiVersion: 'v1', kind: 'Node', metadata: { name, annotations }, spec: {} };
}

function member(name: string, id: number, more: Partial<MemberReport> = {}): MemberReport {
  const shape = { role: 'voter', addresses: [], health: 'running', lag: 0 } as const;
  return { ...shape, id, name, isLeader: false, isSelf: false, ...more };
}

const laptop = member('laptop', 9, { isSelf: true });
const pis = [member('pi1', 1, { isLeader: true }), member('pi2', 2), member('pi3', 3)];
const placed = new Set(['pi1', 'pi2', 'pi3']);

describe('another release', () => {
  it.each([
    { name: 'a follower first', given: [node('pi1', old), node('pi2', old)], want: 'tell pi2' },
    {
      name: 'whoever leads last',
      given: [node('pi1', old), node('pi2', wanted)],
      want: 'tell pi1',
    },
    {
      name: 'one at a time',
      given: [node('pi1', old), node('pi2', old, wanted), node('pi3', old)],
      want: 'wait pi2',
    },
    {
      name: 'none any more once one went back',
      given: [node('pi2', old, wanted, `${digest} Failed: ended with code 1`), node('pi3', old)],
      want: 'stop pi2',
    },
    {
      name: 'what another release failed at is forgotten',
      given: [node('pi2', old, old, 'cccccccccccc Failed: ended with code 1')],
      want: 'tell pi2',
    },
    { name: 'all have it', given: [node('pi1', wanted), node('pi2', wanted)], want: 'done' },
    { name: 'what a person made is left alone', given: [node('nas', old)], want: 'done' },
  ])('$name', ({ given, want }) => {
    const step = nextControlPlane(given, { members: [laptop, ...pis] }, placed, wanted);
    expect('nodeName' in step ? `${step.type} ${step.nodeName}` : step.type).toBe(want);
  });

  it('waits for one that serves and is not heard of by who leads', () => {
    const away = member('pi2', 2, { health: 'unreachable' });
    const members = [member('laptop', 9, { isSelf: true, isLeader: true }), away];
    const step = nextControlPlane([node('pi2', wanted)], { members }, placed, wanted);
    expect(step).toEqual({ type: 'wait', nodeName: 'pi2' });
  });
});

describe('whose release it is', () => {
  it.each([
    {
      name: 'the app that leads',
      members: [{ ...laptop, isLeader: true }, member('pi1', 1)],
      want: true,
    },
    { name: 'the app beside a machine that leads', members: [laptop, ...pis], want: true },
    {
      name: 'no machine, though it leads',
      members: [member('laptop', 9), member('pi1', 1, { isSelf: true, isLeader: true })],
      want: false,
    },
    { name: 'not the second app', members: [laptop, member('pc', 4), ...pis], want: false },
    {
      name: 'another app leads',
      members: [laptop, member('pc', 10, { isLeader: true })],
      want: false,
    },
    { name: 'nobody leads', members: [laptop, member('pi1', 1)], want: false },
  ])('$name: $want', ({ members, want }) => {
    expect(isReleaseSource({ members }, placed)).toBe(want);
  });
});
