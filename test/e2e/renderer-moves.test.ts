// An app's way to another machine, as a person sees it in a real browser: asked, told, and taken back.
import { expect, it } from 'vitest';
import type { VolumeMove, VolumeMoveStatus } from '#kube/api/volume-move.ts';
import type { FakeObject } from '../fake-cluster.ts';
import { fakeApp, fakeNode } from '../fake-cluster-objects.ts';
import { screenshots } from '../setup/browser.ts';
import { barriersOfBoth, expectToFit, usePages, visit } from '../setup/page-visit.ts';

usePages();

/** Films keeps what it has in a claim. */
function films(): FakeObject[] {
  const text = JSON.stringify(fakeApp('films', { image: 'films:1', data: '/srv/films' }));
  const claim = '"persistentVolumeClaim":{"claimName":"data"}';
  return JSON.parse(text.replaceAll('"hostPath":{"path":"/srv/films"}', claim)) as FakeObject[];
}

const home = [
  fakeNode('nuc', { cpu: 8, memoryGi: 16 }),
  fakeNode('pi-kitchen', { cpu: 4, memoryGi: 4 }),
  ...films(),
];

it('is asked for with two clicks, told as it goes, and can be undone by keyboard', async () => {
  const { page, fake, url, complaints } = await visit(home);
  await page.goto(`${url}/apps/deployment/default/films`);
  await page.getByRole('button', { name: 'Move to…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('The old copy stays for 7 days').waitFor();
  const look = async (name: string) => {
    await expectToFit(page);
    expect([await barriersOfBoth(page), complaints], name).toEqual([[], []]);
    if (process.env['SCREENSHOTS'] !== undefined) await screenshots.take(page, `move-${name}`);
  };
  await look('asked');
  await dialog.getByRole('button', { name: 'Move to pi-kitchen' }).click();
  await dialog.waitFor({ state: 'hidden' });
  const made = fake.all('volumemoves')[0] as unknown as VolumeMove;
  expect(made.spec).toEqual({ claims: ['data'], nodeName: 'pi-kitchen' });
  const tell = (status: VolumeMoveStatus) =>
    fake.put({ ...made, status: { fromNode: 'nuc', ...status } } as unknown as FakeObject);
  tell({ phase: 'Copying', totalBytes: 4e9, copiedBytes: 1e9 });
  await page.getByRole('progressbar', { name: 'Copying the data of Films' }).waitFor();
  await look('copying');
  const keepUntil = new Date(Date.now() + 7 * 86_400_000).toISOString();
  tell({ phase: 'Done', keepUntil });
  await page.getByText('Films has its data on pi-kitchen').waitFor();
  await look('done');
  await page.getByRole('button', { name: 'Back to the copy on nuc' }).focus();
  await page.keyboard.press('Enter');
  await expect
    .poll(() => (fake.all('volumemoves')[0] as unknown as VolumeMove).spec.goBack)
    .toBe(true);
});
