// Adding machines in a real browser, against a fake cluster: what is seen and why it can't be added, the
// way from a click to a machine of the home, by pointer and by keyboard, and what stands in the way.
import type { Locator, Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import type { EnrolmentStatus } from '#kube/api/fleet.ts';
import type { FakeCluster, FakeObject } from '../fake-cluster.ts';
import {
  FakeEnrolment,
  fakeMachine,
  fakeNeighbours,
  fakePi,
  fakeProgress,
  fakeSearch,
} from '../fake-cluster-fleet.ts';
import { fakeHome, fakeNode } from '../fake-cluster-objects.ts';
import { screenshots } from '../setup/browser.ts';
import { barriersOfBoth, expectToFit, usePages, visit } from '../setup/page-visit.ts';

usePages();

/** What stands behind a sheet is little, so that looking at it is quick. */
const home: readonly FakeObject[] = [fakeNode('nuc', { cpu: 8, memoryGi: 16 })];

interface Sheet {
  readonly page: Page;
  readonly fake: FakeCluster;
  readonly pi: FakeEnrolment;
  readonly sheet: Locator;
  readonly complaints: readonly string[];
}

async function atMachines(objects: readonly FakeObject[]): Promise<Sheet> {
  const pi = new FakeEnrolment();
  const { page, fake, url, complaints } = await visit(objects, { enrol: pi.answer });
  await page.goto(`${url}/machines`);
  await page.getByRole('heading', { name: 'Also seen at home' }).waitFor();
  return { page, fake, pi, sheet: page.getByRole('dialog'), complaints };
}

/** One click, and the machine shows its key. */
async function atLogin(): Promise<Sheet> {
  const at = await atMachines([...home, fakePi]);
  await at.page.getByRole('button', { name: 'Add: raspberrypi' }).click();
  await at.sheet.getByText(at.pi.key).waitFor();
  return at;
}

async function logIn({ sheet, page, pi }: Sheet): Promise<void> {
  await page.keyboard.type(pi.password);
  await sheet.getByRole('button', { name: 'Log in and look' }).click();
}

function tell(fake: FakeCluster, enrolment: EnrolmentStatus): void {
  fake.put({ ...fakePi, status: { ...(fakePi['status'] as object), enrolment } });
}

/** Each state as a person finds it: in all widths, without a barrier in either theme. */
async function expectWellMade({ page, complaints }: Sheet, name: string): Promise<void> {
  await expectToFit(page);
  expect([await barriersOfBoth(page), complaints], name).toEqual([[], []]);
  if (process.env['SCREENSHOTS'] !== undefined) await screenshots.take(page, `machine-${name}`);
}

describe('machines that are seen at home', () => {
  it('are shown with why they can be added or not, and none that is a machine of the home', async () => {
    const at = await atMachines([...fakeHome(), ...fakeNeighbours(), fakeSearch()]);
    const { page } = at;
    const section = page.getByRole('region', { name: 'Also seen at home' });
    await section.getByText("4 machines that can't be added now, and why").click();
    const names = await section.getByRole('heading', { level: 3 }).allTextContents();
    expect(names).toEqual([
      'old-laptop',
      'raspberrypi',
      'pi-attic',
      'nas',
      'gaming-pc',
      'at-192-168-1-99',
    ]);
    await section.getByText('Machines of a home run Linux.').waitFor();
    await expectWellMade(at, 'seen');
    await section.getByRole('button', { name: 'Take off the list: at-192-168-1-99' }).click();
    await section.getByText("3 machines that can't be added now").waitFor();
    await page.getByRole('link', { name: 'Home', exact: true }).first().click();
    await page.getByRole('button', { name: 'Add: raspberrypi' }).waitFor();
    await page.getByRole('link', { name: "3 machines that can't be added now" }).waitFor();
  });

  it('come and go by themselves', async () => {
    const { page, fake } = await atMachines([...home, fakeSearch()]);
    await page.getByText('No other machine is seen on your network.').waitFor();
    fake.put(fakePi);
    await page.getByRole('button', { name: 'Add: raspberrypi' }).waitFor();
    fake.put(fakeMachine('raspberrypi', { nodeName: 'nuc' }));
    await page.getByText('No other machine is seen on your network.').waitFor();
  });

  it('are not looked for while the search is off, which is said with how to turn it on', async () => {
    const at = await atMachines([...home, fakeSearch('Off')]);
    const sentence = at.page.getByText(/does not look for machines\. Start it with --discovery/);
    await sentence.waitFor();
    await at.page.getByRole('link', { name: 'Home', exact: true }).first().click();
    await sentence.waitFor();
  });
});

describe('why a machine is not here', () => {
  it('is told by what the search says, and the network is asked after a consent', async () => {
    const filtered = fakeSearch('Searching', 'MulticastFiltered');
    const at = await atMachines([...home, ...fakeNeighbours(), filtered]);
    const { page, sheet, fake } = at;
    await page.getByRole('button', { name: 'Why is my Pi not here?' }).click();
    await sheet.getByText('Devices are there, but none can tell its name').waitFor();
    await sheet.getByText('pi-attic is here with SSH turned off').waitFor();
    await expectWellMade(at, 'find');
    await sheet.getByText('each of the 254 addresses of 192.168.1.0/24').waitFor();
    await sheet.getByRole('button', { name: 'Ask the whole network' }).click();
    await sheet.getByText('Flotilla is asking the 254 addresses').waitFor();
    const swept = { ...(filtered['status'] as object), sweptGeneration: 2 };
    const spec = { sweep: ['192.168.1.0/24'] };
    fake.put({ ...filtered, metadata: { name: 'home', generation: 2 }, spec, status: swept });
    await sheet.getByRole('button', { name: 'Ask once more' }).waitFor();
  });

  it('does not keep anybody from typing its address', async () => {
    const { page, sheet, pi } = await atMachines([...home, fakeSearch('Off')]);
    await page.getByRole('button', { name: 'Add a machine' }).click();
    const field = sheet.getByRole('textbox', { name: 'Its address or name' });
    await field.press('Enter');
    await sheet.getByText('Type an address such as').waitFor();
    await field.fill('192.168.1.77');
    await field.press('Enter');
    await sheet.getByText(pi.key).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Try now: at-192-168-1-77' }).waitFor();
  });
});

describe('adding a machine', () => {
  it('takes three clicks and one field from the list to the steps, which tick themselves off', async () => {
    const at = await atLogin();
    const { page, sheet, fake, pi } = at;
    await expectWellMade(at, 'login');
    await sheet.getByRole('textbox', { name: 'Password', exact: true }).focus();
    await logIn(at);
    await sheet.getByText('4 things will be done, and it restarts once:').waitFor();
    await sheet.getByText('Raspberry Pi 4 Model B').first().waitFor();
    await expectWellMade(at, 'plan');
    expect(pi.asked.map(({ phase }) => phase)).toEqual(['Inspect', 'Inspect']);
    await sheet.getByRole('button', { name: 'Add raspberrypi' }).click();
    await sheet.getByText('This goes on when you close it').waitFor();
    tell(fake, fakeProgress(2, { step: { percent: 41, message: '12 of 29 MB' } }));
    await sheet.getByText('29 MB, 41 %').waitFor();
    await expectWellMade(at, 'going');
    tell(fake, { ...fakeProgress(4), phase: 'Rebooting' });
    await sheet.getByText('It restarts: this takes a minute or two').waitFor();
    fake.put(fakeNode('raspberrypi', { architecture: 'arm64', cpu: 4, memoryGi: 4 }));
    tell(fake, { ...fakeProgress(5), phase: 'Done' });
    await sheet.getByText('raspberrypi is part of your home now.').waitFor();
    await sheet.getByRole('button', { name: 'See raspberrypi' }).click();
    await page.getByRole('heading', { name: 'raspberrypi', level: 1 }).waitFor();
  });

  it('and an app that runs there take six clicks and one field', async () => {
    const { page, sheet, fake, pi } = await atMachines([...home, fakePi]);
    let clicks = 0;
    async function click(name: string): Promise<void> {
      clicks++;
      await page.getByRole('button', { name, exact: true }).click();
    }
    await click('Add: raspberrypi');
    await sheet.getByText(pi.key).waitFor();
    await page.keyboard.type(pi.password);
    await click('Log in and look');
    await click('Add raspberrypi');
    await sheet.getByText('This goes on when you close it').waitFor();
    tell(fake, { ...fakeProgress(5), phase: 'Done' });
    await sheet.getByText('raspberrypi is part of your home now.').waitFor();
    await sheet.getByRole('button', { name: 'Deploy an app' }).focus();
    clicks++;
    await page.keyboard.press('Enter');
    await click('A web server');
    await click('Deploy');
    await page.getByRole('progressbar', { name: 'Looking for a machine' }).waitFor();
    expect(clicks).toBe(6);
    const made = fake.get('deployments/default/nginx')?.['spec'];
    expect(JSON.stringify(made)).toContain('"image":"nginx:alpine"');
  });

  it('goes on while the sheet is closed, and says so on its card', async () => {
    const at = await atLogin();
    const { page, sheet, fake } = at;
    await logIn(at);
    await sheet.getByRole('button', { name: 'Add raspberrypi' }).click();
    await sheet.getByText('This goes on when you close it').waitFor();
    await page.keyboard.press('Escape');
    tell(fake, fakeProgress(2));
    await page.getByRole('progressbar', { name: 'Adding raspberrypi' }).waitFor();
    await page.getByRole('button', { name: 'See how far: raspberrypi' }).click();
    await sheet.getByText('Start the agent, and wait for it to join').waitFor();
  });

  it('says why it broke off, and tries again with what was typed', async () => {
    const at = await atLogin();
    const { sheet, fake, pi } = at;
    await logIn(at);
    await sheet.getByRole('button', { name: 'Add raspberrypi' }).click();
    await sheet.getByText('This goes on when you close it').waitFor();
    const message = 'The connection broke while the agent was copied. See to its cable.';
    const failed = fakeProgress(2, { message, step: { state: 'Failed', message: 'ECONNRESET' } });
    tell(fake, { ...failed, phase: 'Failed' });
    await sheet.getByRole('alert').getByText(message).waitFor();
    await expectWellMade(at, 'failed');
    await sheet.getByRole('button', { name: 'Try again' }).click();
    await sheet.getByText('This goes on when you close it').waitFor();
    expect(pi.asked.map(({ phase, password }) => `${phase} ${password ?? ''}`)).toEqual([
      'Inspect ',
      'Inspect raspberry',
      'Apply raspberry',
      'Apply raspberry',
    ]);
  });

  it('tells what stands in the way, and what a person has to agree to', async () => {
    const at = await atLogin();
    const { sheet, pi } = at;
    pi.obstacles = ['Its disk is full: 120 MB are free, 600 MB are needed.'];
    await logIn(at);
    await sheet.getByText('Its disk is full').waitFor();
    await expectWellMade(at, 'obstructed');
    pi.obstacles = [];
    pi.warnings = ['Its card is slow: 180 ms for one safe write.'];
    await sheet.getByRole('button', { name: 'Look again' }).click();
    await sheet.getByText('Its card is slow').waitFor();
    await sheet.getByRole('button', { name: 'Add it all the same' }).click();
    await sheet.getByText('This goes on when you close it').waitFor();
    expect(pi.asked.at(-1)?.acceptWarnings).toBe(true);
  });

  it('can be done by keyboard alone, also when the first password is wrong', async () => {
    const { page, sheet, pi } = await atMachines([...home, fakePi]);
    await page.getByRole('button', { name: 'Add: raspberrypi' }).focus();
    await page.keyboard.press('Enter');
    await sheet.getByText(pi.key).waitFor();
    await page.keyboard.type('wrong');
    await page.keyboard.press('Enter');
    await sheet.getByRole('alert').getByText('refused the password of pi').waitFor();
    await page.keyboard.type(pi.password);
    await page.keyboard.press('Enter');
    await sheet.getByText('4 things will be done').waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await sheet.getByText('This goes on when you close it').waitFor();
    await page.keyboard.press('Escape');
    const focused = page.getByRole('button', { name: 'Add: raspberrypi' });
    await expect.poll(() => focused.evaluate((one) => one === document.activeElement)).toBe(true);
  });

  it('warns when the machine shows another key than the one that was seen', async () => {
    const at = await atLogin();
    const { sheet, pi } = at;
    pi.key = 'SHA256:anotherKeyThanTheOneThatWasSeenAMomentAgo000';
    await logIn(at);
    await sheet.getByRole('alert').getByText('another key than before').waitFor();
    expect(pi.asked.at(-1)?.hostKey).not.toBe(pi.key);
  });

  it('sends nothing to one whose key is not the one that was accepted, until a person forgets that', async () => {
    const known = { ...fakePi, spec: { hostKey: 'SHA256:old' } };
    const { page, sheet, pi, fake } = await atMachines([...home, known]);
    pi.acceptedKey = 'SHA256:old';
    await page.getByRole('button', { name: 'Add: raspberrypi' }).click();
    await sheet.getByRole('alert').getByText('Another key was accepted before').waitFor();
    expect(await sheet.getByRole('textbox').count()).toBe(0);
    pi.acceptedKey = undefined;
    await sheet.getByRole('button', { name: 'forget its old key' }).click();
    await sheet.getByRole('textbox', { name: 'Password', exact: true }).waitFor();
    expect(fake.get('machines//raspberrypi')?.['spec']).toEqual({});
  });

  it('takes a key, or the keys of an SSH agent, in place of a password', async () => {
    const at = await atLogin();
    const { sheet, pi } = at;
    await sheet.getByRole('button', { name: 'Key', exact: true }).click();
    await sheet.getByRole('textbox', { name: 'Private key' }).fill('KEY');
    await sheet.getByRole('button', { name: 'Log in and look' }).click();
    await sheet.getByText('refused the password').waitFor();
    await sheet.getByRole('button', { name: 'My SSH agent' }).click();
    await sheet.getByRole('button', { name: 'Log in and look' }).click();
    await expect.poll(() => pi.asked.at(-1)?.useAgent).toBe(true);
    const { phase, user, hostKey } = pi.asked.at(-1) ?? {};
    expect(pi.asked.slice(1)).toEqual([
      { phase, user, hostKey, privateKey: 'KEY\n' },
      { phase, user, hostKey, useAgent: true },
    ]);
  });
});

describe('other devices', () => {
  it('get a link with a code to point a camera at, and can be signed out', async () => {
    const key = 'token=0123456789abcdef.secret';
    const urls = [`https://flotilla.local:7481/#${key}`, `https://192.168.1.20:7481/#${key}`];
    const pageLink = () => ({ urls, expires: '2026-12-01T12:00:00Z' });
    const { page, url, complaints } = await visit([...home], { pageLink });
    await page.goto(url);
    await page.getByRole('button', { name: 'On your phone' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('img', { name: 'https://flotilla.local:7481/' }).waitFor();
    expect(await dialog.innerText()).not.toContain('secret');
    await expectToFit(page);
    expect([await barriersOfBoth(page), complaints]).toEqual([[], []]);
    if (process.env['SCREENSHOTS'] !== undefined) await screenshots.take(page, 'other-devices');
    await dialog.getByRole('button', { name: 'Sign out all other devices' }).click();
    await dialog.getByText('All other devices are signed out.').waitFor();
  });

  it('are told in words why there is no link', async () => {
    const message = 'Other devices don’t reach this control plane: start it with …';
    const pageLink = () => ({ kind: 'Status', status: 'Failure', code: 400, message }) as const;
    const { page, url } = await visit([...home], { pageLink });
    await page.goto(url);
    await page.keyboard.press('Control+k');
    await page.keyboard.type('phone');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').getByText(message).waitFor();
    await page.getByRole('button', { name: 'Done' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  });
});
