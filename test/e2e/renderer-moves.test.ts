// What an app keeps, as a person sees it in a real browser: deployed, taken up again, named when the app goes;
// and its way to another machine: asked, told, and taken back.
import { expect, it } from 'vitest';
import type { VolumeMove, VolumeMoveStatus } from '#kube/api/volume-move.ts';
import type { FakeObject } from '../fake-cluster.ts';
import { fakeApp, fakeNode } from '../fake-cluster-objects.ts';
import { screenshots } from '../setup/browser.ts';
import { barriersOfBoth, expectToFit, usePages, visit } from '../setup/page-visit.ts';

usePages();

/** Films keeps what it has in a claim, and reads a folder of its machine. */
function films(): FakeObject[] {
  const text = JSON.stringify(fakeApp('films', { image: 'films:1', data: '/srv/films' }));
  const claim = '"persistentVolumeClaim":{"claimName":"data"}';
  const folder = '{"name":"media","hostPath":{"path":"/srv/media"}}';
  const volume = '{"name":"data","hostPath":{"path":"/srv/films"}}';
  return JSON.parse(text.replaceAll(volume, `{"name":"data",${claim}},${folder}`)) as FakeObject[];
}

const filmsData: FakeObject[] = [
  {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'data', namespace: 'default' },
    spec: { volumeName: 'pvc-1' },
  },
  {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: 'pvc-1', labels: { 'flotilla.dev/volume-node': 'nuc' } },
    spec: {},
  },
];

const home = [
  fakeNode('nuc', { cpu: 8, memoryGi: 16 }),
  fakeNode('pi-kitchen', { cpu: 4, memoryGi: 4 }),
  ...films(),
  ...filmsData,
];

it('is asked for with two clicks, told as it goes, and can be undone by keyboard', async () => {
  const { page, fake, url, complaints } = await visit(home);
  await page.goto(`${url}/apps/deployment/default/films`);
  await page.getByRole('button', { name: 'Move to…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('The old copy stays for 7 days').waitFor();
  await dialog.getByText('/srv/media').waitFor();
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

it('stays when its app is deleted, and is taken up by the next one only when somebody says so', async () => {
  const { page, fake, url, complaints } = await visit([
    ...home,
    ...fakeApp('photos', { image: 'photos:1' }),
  ]);
  const look = async (name: string) => {
    await expectToFit(page);
    expect([await barriersOfBoth(page), complaints], name).toEqual([[], []]);
    if (process.env['SCREENSHOTS'] !== undefined) await screenshots.take(page, `kept-${name}`);
  };
  await page.goto(`${url}/apps/deployment/default/films`);
  await page.getByText('/data, kept on nuc as data').waitFor();
  await page.getByRole('button', { name: 'Delete' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('data, on nuc').waitFor();
  await dialog.getByText('To remove it for good').click();
  await dialog.getByText('kubectl delete pvc data -n default').waitFor();
  await look('deleted');
  await dialog.getByRole('button', { name: 'Delete Films' }).click();
  await page.getByText('Films has been deleted').waitFor();
  expect(fake.all('persistentvolumeclaims')).toHaveLength(1);

  await page.goto(url);
  await page.getByRole('button', { name: 'Deploy an app' }).click();
  await page.getByRole('textbox', { name: 'Image' }).fill('films:2');
  await page.getByRole('button', { name: 'Data', exact: true }).click();
  await page.getByRole('textbox', { name: 'Folder in the app' }).fill('/data');
  const choice = page.getByRole('combobox', { name: 'Which data' });
  expect(await choice.inputValue(), 'what is there is not taken up unasked').toBe('+');
  await choice.selectOption({ label: 'data, on nuc' });
  await page.getByText('On nuc, and so the app runs there').waitFor();
  await look('taken-up');
  await page.getByRole('button', { name: 'Deploy', exact: true }).click();
  await page.getByRole('progressbar').first().waitFor();
  expect(fake.all('persistentvolumeclaims')).toHaveLength(1);
  const made = fake.all('deployments').find(({ metadata }) => metadata.name === 'films');
  expect(made).toMatchObject({
    spec: {
      strategy: { type: 'Recreate' },
      template: { spec: { volumes: [{ persistentVolumeClaim: { claimName: 'data' } }] } },
    },
  });
});

it('is made with a new app, and asks when there is data of that name', async () => {
  const details = { kind: 'persistentvolumeclaims', name: 'web-data' };
  const refuse = ({ kind, metadata }: FakeObject): object | undefined =>
    kind === 'PersistentVolumeClaim' && metadata.name === 'web-data'
      ? { kind: 'Status', code: 409, reason: 'AlreadyExists', details }
      : undefined;
  const { page, fake, url } = await visit(home, { refuse });
  const [claim] = filmsData as [FakeObject];
  fake.put({ ...claim, metadata: { name: 'web-data', namespace: 'default' } });
  await page.goto(url);
  await page.getByRole('button', { name: 'Deploy an app' }).click();
  await page.getByRole('textbox', { name: 'Image' }).fill('web:1');
  await page.getByRole('button', { name: 'Data', exact: true }).click();
  await page.getByRole('textbox', { name: 'Folder in the app' }).fill('/data');
  const choice = page.getByRole('combobox', { name: 'Which data' });
  await choice.getByText('Choose…').waitFor({ state: 'attached' });
  await page.getByRole('button', { name: 'Deploy', exact: true }).click();
  await page.getByText('There is data called web-data already').waitFor();
  await choice.selectOption({ label: 'New, empty' });
  await page.getByRole('button', { name: 'Deploy', exact: true }).click();
  await page.getByRole('progressbar').first().waitFor();
  const names = fake.all('persistentvolumeclaims').map(({ metadata }) => metadata.name);
  expect(names.toSorted()).toEqual(['data', 'web-data', 'web-data-2']);
});

it('is given to an app that runs, which says that it pauses for it', async () => {
  const { page, fake, url } = await visit([...home, ...fakeApp('photos', { image: 'photos:1' })]);
  await page.goto(`${url}/apps/deployment/default/photos?tab=settings`);
  await page.getByRole('button', { name: 'Data', exact: true }).click();
  await page.getByRole('textbox', { name: 'Folder in the app' }).fill('/library');
  await page.getByText('data, kept as photos-library').waitFor();
  await page.getByText('old and new never write to its data at once').waitFor();
  if (process.env['SCREENSHOTS'] !== undefined) await screenshots.take(page, 'kept-settings');
  await page.getByRole('button', { name: 'Apply' }).click();
  await page.getByText('Saved.').waitFor();
  const names = fake.all('persistentvolumeclaims').map(({ metadata }) => metadata.name);
  expect(names.toSorted()).toEqual(['data', 'photos-library']);
  const photos = fake.all('deployments').find(({ metadata }) => metadata.name === 'photos');
  expect(photos).toMatchObject({ spec: { strategy: { type: 'Recreate' } } });
});
