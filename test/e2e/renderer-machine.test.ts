// A machine's page in a real browser, against a fake cluster that plans as the real one does: restarting, sleeping, waking,
// taking it out, renaming, and an upgrade that went back.
import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import type { Node, Pod } from '#kube/api/core.ts';
import type { NodeOperationSpec } from '#kube/api/fleet.ts';
import { planDeparture } from '#kube/machinery/departure.ts';
import {
  actionsAnnotation,
  cardsAnnotation,
  operationAnnotation,
  operationText,
} from '#kube/machinery/node-operations.ts';
import type { FakeCluster, FakeObject } from '../fake-cluster.ts';
import { fakeApp, fakeNode } from '../fake-cluster-objects.ts';
import { screenshots } from '../setup/browser.ts';
import { barriersOfBoth, expectToFit, usePages, visit } from '../setup/page-visit.ts';

usePages();

const annotations = {
  [actionsAnnotation]: 'Reboot,ShutDown,Sleep,Remove',
  'flotilla.dev/agent-version': `0.1.0+${'a'.repeat(12)}`,
};
const silent = {
  status: 'Unknown',
  reason: 'NodeStatusUnknown',
  message: 'Kubelet stopped posting node status.',
};

interface At {
  readonly page: Page;
  readonly fake: FakeCluster;
  readonly asked: NodeOperationSpec[];
  readonly complaints: readonly string[];
}

async function atMachine(pi: FakeObject): Promise<At> {
  const objects = [
    pi,
    fakeNode('nuc', { cpu: 8, memoryGi: 16, annotations }),
    ...fakeApp('jellyfin', { image: 'jellyfin/jellyfin:10', node: 'pi' }),
    ...fakeApp('photos', { image: 'immich:3', node: 'pi' }),
  ];
  const asked: NodeOperationSpec[] = [];
  const { page, fake, url, complaints } = await visit(objects, {
    operate(_name, spec) {
      asked.push(spec);
      const { pods, obstacles, warnings } = planDeparture({
        node: pi as unknown as Node,
        action: spec.action,
        nodes: objects.filter(({ kind }) => kind === 'Node') as unknown as Node[],
        pods: objects.filter(({ kind }) => kind === 'Pod') as unknown as Pod[],
        claim: () => undefined,
        volume: () => undefined,
        keepers: new Map([['pi', true]]),
      });
      const phase =
        obstacles.length > 0 ? 'Obstructed' : spec.phase === 'Apply' ? 'Asked' : 'Planned';
      return {
        phase,
        pods: [...pods],
        ...(obstacles.length > 0 && { obstacles: [...obstacles] }),
        ...(warnings.length > 0 && { warnings: [...warnings] }),
      };
    },
  });
  await page.goto(`${url}/machines/pi`);
  await page.getByRole('heading', { name: 'What runs here' }).waitFor();
  return { page, fake, asked, complaints };
}

/** By the keyboard alone. */
async function choose({ page }: At, item: string): Promise<void> {
  await page.getByRole('button', { name: 'More to do with it' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('menuitem', { name: item }).focus();
  await page.keyboard.press('Enter');
}

async function expectWellMade({ page, complaints }: At, name: string): Promise<void> {
  await expectToFit(page);
  expect([await barriersOfBoth(page), complaints], name).toEqual([[], []]);
  if (process.env['SCREENSHOTS'] !== undefined) await screenshots.take(page, `power-${name}`);
}

describe('a machine’s page', () => {
  it('says what will happen before it restarts, and how far it is', async () => {
    const pi = fakeNode('pi', { cpu: 4, memoryGi: 8, architecture: 'arm64', annotations });
    const at = await atMachine(pi);
    const { page, fake, asked } = at;
    await choose(at, 'Restart…');
    const dialog = page.getByRole('dialog');
    await dialog.getByText('2 copies wait for this one').waitFor();
    await dialog.getByText('Jellyfin').first().waitFor();
    await dialog.getByText(/pi alone keeps what the cluster knows/).waitFor();
    await expectWellMade(at, 'restart');
    await dialog.getByRole('button', { name: 'Restart all the same' }).click();
    await dialog.waitFor({ state: 'detached' });
    expect(asked.map(({ phase }) => phase)).toEqual(['Inspect', 'Apply']);
    const text = operationText({ id: 'a', action: 'Reboot', state: 'Acting', since: '' });
    fake.put({
      ...pi,
      metadata: { name: 'pi', annotations: { ...annotations, [operationAnnotation]: text } },
    });
    await page.getByText('It comes back by itself.').waitFor();
    await expectWellMade(at, 'restarting');
  });

  it('offers to wake one that sleeps', async () => {
    const card = {
      name: 'eth0',
      address: 'b8:27:eb:12:34:56',
      network: '192.168.1.20/24',
      wakes: false,
    };
    const more = { ...annotations, [cardsAnnotation]: JSON.stringify([card]) };
    const at = await atMachine(
      fakeNode('pi', { cpu: 4, memoryGi: 8, annotations: more, ready: silent, isAsleep: true }),
    );
    const { page } = at;
    await page.getByRole('button', { name: 'Wake', exact: true }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText(/Waking by network is switched off/).waitFor();
    await expectWellMade(at, 'wake');
    await dialog.getByRole('button', { name: 'Wake all the same' }).click();
    await dialog.waitFor({ state: 'detached' });
  });

  it('takes a machine out only where that leaves something', async () => {
    const at = await atMachine(fakeNode('pi', { cpu: 4, memoryGi: 8, annotations }));
    await choose(at, 'Take out of the home…');
    const dialog = at.page.getByRole('dialog');
    await dialog.getByText(/pi alone keeps what the cluster knows: taken out/).waitFor();
    expect(await dialog.getByRole('button').allTextContents()).toEqual(['Close']);
    await expectWellMade(at, 'remove');
  });

  it('gives it another name, which stands everywhere', async () => {
    const at = await atMachine(fakeNode('pi', { cpu: 4, memoryGi: 8, annotations }));
    const { page } = at;
    await choose(at, 'Rename…');
    const field = page.getByRole('textbox', { name: 'Its name' });
    await field.fill('Kitchen');
    await expectWellMade(at, 'rename');
    await field.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'Kitchen' }).waitFor();
    await page.getByRole('link', { name: 'Machines', exact: true }).first().click();
    await page.getByRole('link', { name: 'Kitchen' }).waitFor();
  });

  it('tells of an upgrade that went back, and tries it again', async () => {
    const upgrade = {
      'flotilla.dev/agent-target': `0.2.0+${'b'.repeat(12)}`,
      'flotilla.dev/agent-upgrade': `${'b'.repeat(12)} Failed: was not healthy within 90 s`,
    };
    const more = { ...annotations, ...upgrade };
    const at = await atMachine(fakeNode('pi', { cpu: 4, memoryGi: 8, annotations: more }));
    await at.page.getByRole('region', { name: 'Its agent' }).getByText('was not healthy').waitFor();
    await expectWellMade(at, 'upgrade');
    await at.page.getByRole('button', { name: 'Try it again' }).click();
    await at.page.getByText('It tries the new agent once more.').waitFor();
  });
});
