// Whether a flow schema's priority level is there, as its condition tells.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { flowSchemas, priorityLevelConfigurations } from '#kube/client/resources.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
});
afterEach(() => sim.stop());

it('a flow schema dangles as long as its level is missing', async () => {
  const apiVersion = 'flowcontrol.apiserver.k8s.io/v1';
  const ref = { name: 'mine' };
  await sim.client.create(flowSchemas, {
    apiVersion,
    kind: 'FlowSchema',
    metadata: ref,
    spec: { priorityLevelConfiguration: { name: 'later' } },
  });
  await sim.settle();
  const conditions = async () => (await sim.client.get(flowSchemas, ref)).status?.conditions;
  const refers = 'This FlowSchema references the PriorityLevelConfiguration object named "later"';
  expect(await conditions()).toMatchObject([
    {
      type: 'Dangling',
      status: 'True',
      reason: 'NotFound',
      message: `${refers} but there is no such object`,
    },
  ]);
  await sim.client.create(priorityLevelConfigurations, {
    apiVersion,
    kind: 'PriorityLevelConfiguration',
    metadata: { name: 'later' },
    spec: { type: 'Limited', limited: { limitResponse: { type: 'Reject' } } },
  });
  await sim.settle();
  expect(await conditions()).toMatchObject([
    { status: 'False', reason: 'Found', message: `${refers} and it exists` },
  ]);
});
