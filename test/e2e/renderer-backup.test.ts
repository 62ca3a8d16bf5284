// The backup of the home in a real browser, against a fake cluster: from "nothing is backed up" to a passphrase, a
// folder and a backup; and a computer that goes on as a home that is gone.
import { describe, expect, it } from 'vitest';
import { invalid } from '#kube/machinery/status.ts';
import type { FakeObject } from '../fake-cluster.ts';
import { fakeHome, fakeNode } from '../fake-cluster-objects.ts';
import { screenshots } from '../setup/browser.ts';
import { barriersOfBoth, expectToFit, usePages, visit, type Visit } from '../setup/page-visit.ts';

usePages();

const made = 'x7kd-abcd-efgh-2345-wxyz';

function fakeBackup(more: Partial<FakeObject> = {}): FakeObject {
  return {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'ClusterBackup',
    metadata: { name: 'home' },
    ...more,
  };
}

const backedUp = fakeBackup({
  spec: { target: { folder: { path: '/media/backup' } } },
  status: {
    recipient: 'age1fake',
    lastSuccess: {
      time: new Date(Date.now() - 3 * 3_600_000).toISOString(),
      name: 'cluster-6b1c2a3d/cluster-20261128T031500Z.age',
      place: 'the folder /media/backup',
      sizeBytes: 4_200_000,
    },
    nextTime: new Date(Date.now() + 21 * 3_600_000).toISOString(),
    keptCount: 11,
  },
});

async function expectWellMade({ page, complaints }: Visit, name: string): Promise<void> {
  await expectToFit(page);
  expect([await barriersOfBoth(page), complaints], name).toEqual([[], []]);
  if (process.env['SCREENSHOTS'] !== undefined) await screenshots.take(page, `backup-${name}`);
}

describe('a home that is not backed up', () => {
  it('says so on its first page, and is in two steps: a passphrase that is shown once, and a folder', async () => {
    const at = await visit([...fakeHome(), fakeBackup()], {
      setPassphrase: () => ({ status: { recipient: 'age1fake', passphrase: made } }),
    });
    const { page, fake, url } = at;
    await page.goto(url);
    await page.getByText('Your home is not backed up').waitFor();
    await page.getByRole('button', { name: 'Set it up' }).click();
    await page.getByRole('heading', { name: 'Backup', level: 1 }).waitFor();
    await expectWellMade(at, 'none');
    await page.getByRole('button', { name: 'Make a passphrase' }).focus();
    await page.keyboard.press('Enter');
    await page.getByText(made).waitFor();
    await expectWellMade(at, 'passphrase');
    fake.put(fakeBackup({ status: { recipient: 'age1fake' } }));
    await page.getByRole('button', { name: 'I have written it down' }).click();
    expect(await page.getByText(made).count()).toBe(0);
    await page.getByText('There is no place for backups yet').waitFor();
    await page.getByRole('textbox', { name: 'Folder' }).fill('/media/backup');
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Back up now' }).waitFor();
    expect(fake.get('clusterbackups//home')).toMatchObject({
      spec: { target: { folder: { path: '/media/backup' } } },
    });
  });

  it('is told why a typed passphrase is refused', async () => {
    const kind = { group: 'flotilla.dev', kind: 'BackupPassphrase' };
    const { page, url } = await visit([...fakeHome(), fakeBackup()], {
      setPassphrase: () =>
        invalid(kind, 'home', [
          {
            field: 'spec.passphrase',
            reason: 'FieldValueInvalid',
            message: 'must have at least 14 characters',
          } as never,
        ]).status,
    });
    await page.goto(`${url}/backup`);
    await page.getByRole('button', { name: 'Type my own' }).click();
    await page.getByLabel('Your passphrase').fill('sesame');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').getByText('at least 14 characters').waitFor();
  });
});

describe('a home that is backed up', () => {
  it('says how, asks for one now by an annotation, and shows one that fails', async () => {
    const at = await visit([...fakeHome(), backedUp]);
    const { page, fake, url } = at;
    await page.goto(`${url}/backup`);
    await page.getByText('Backed up 3 h ago').waitFor();
    await expectWellMade(at, 'well');
    await page.getByRole('button', { name: 'Back up now' }).click();
    await page.getByRole('button', { name: 'Backing up…' }).waitFor();
    const asked = fake.get('clusterbackups//home')?.metadata['annotations'] as Record<
      string,
      string
    >;
    const answeredRequest = asked['flotilla.dev/back-up-now'];
    expect(answeredRequest).toBeDefined();
    const message = 'There is no folder /media/backup: is its disk plugged in and mounted?';
    const lastFailure = { time: new Date().toISOString(), message };
    fake.put({
      ...backedUp,
      status: { ...(backedUp['status'] as object), answeredRequest, lastFailure },
    });
    await page.getByText(message).waitFor();
    await expectWellMade(at, 'failed');
    await page.getByRole('link', { name: 'Home', exact: true }).first().click();
    expect(await page.getByText('Your home is not backed up').count()).toBe(0);
  });
});

describe('a computer that has just begun', () => {
  it('goes on as the home of a backup, when the passphrase is right', async () => {
    const told: string[] = [];
    const at = await visit([fakeNode('nuc', { cpu: 8, memoryGi: 16 }), fakeBackup()], {
      adopt(passphrase, length) {
        told.push(`${passphrase} ${length}`);
        return passphrase === made
          ? { code: 202 }
          : { code: 400, message: 'The backup does not open with this passphrase.' };
      },
    });
    const { page, url } = at;
    await page.goto(url);
    await page.getByRole('link', { name: 'I have a backup of my home' }).click();
    const card = page.getByRole('region', { name: 'I have a backup' });
    await card.getByRole('button', { name: 'Go on as this home' }).click();
    await card.getByRole('alert').getByText('Choose the file').waitFor();
    await expectWellMade(at, 'adopt');
    const file = {
      name: 'home.age',
      mimeType: 'application/octet-stream',
      buffer: Buffer.from('12345'),
    };
    await card.getByLabel('Backup').setInputFiles(file);
    await card.getByLabel('Its passphrase').fill('wörong');
    await page.keyboard.press('Enter');
    await card.getByRole('alert').getByText('does not open with this passphrase').waitFor();
    await card.getByLabel('Its passphrase').fill(made);
    await page.keyboard.press('Enter');
    await card.getByText('This computer starts again as your home').waitFor();
    expect(told).toEqual(['wörong 5', `${made} 5`]);
  });
});
