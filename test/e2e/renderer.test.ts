// Every page of the user interface in states that are hard to bring about, against a fake cluster:
// in three widths and both themes nothing overflows, nothing breaks the Content-Security-Policy, and
// axe finds no barrier.
import { describe, expect, it } from 'vitest';
import { fakeMembers, type FakeObject } from '../fake-cluster.ts';
import { fakeApp, fakeCrowd, fakeHome, fakeNode, fakeStats } from '../fake-cluster-objects.ts';
import { screenshots, widths } from '../setup/browser.ts';
import {
  barriers,
  barriersOfBoth,
  excessWidth,
  expectToFit,
  usePages,
  visit,
} from '../setup/page-visit.ts';

usePages();

/** In the page: how many times it changed in three seconds. */
async function changesInThreeSeconds(): Promise<number> {
  let changes = 0;
  const observer = new MutationObserver(() => changes++);
  observer.observe(document.body, { subtree: true, childList: true, attributes: true });
  const endMs = performance.now() + 3000;
  while (performance.now() < endMs) await new Promise(requestAnimationFrame);
  observer.disconnect();
  return changes;
}

const app = '/apps/deployment/default/web';
const pages = [
  { name: 'home', path: '/', text: 'things need you' },
  { name: 'apps', path: '/apps', text: '7 apps' },
  { name: 'an app', path: app, text: '3 of 3 ready' },
  { name: 'logs', path: `${app}?tab=logs`, text: 'hello from' },
  { name: 'settings', path: `${app}?tab=settings`, text: 'Nothing changed yet' },
  { name: 'history', path: `${app}?tab=history`, text: 'Version 2' },
  {
    name: 'an app in trouble',
    path: '/apps/deployment/default/paperless',
    text: 'manifest unknown',
  },
  { name: 'an app that is gone', path: '/apps/deployment/default/nothing', text: 'no app called' },
  { name: 'machines', path: '/machines', text: '3 machines' },
  { name: 'a machine', path: '/machines/nuc', text: 'not root here' },
  { name: 'the cluster', path: '/cluster', text: '8 objects' },
] as const;

describe('in both themes', () => {
  it.each(pages)(
    '$name fits every width, keeps the policy and has no barrier',
    async ({ path: at, text }) => {
      const { page, url, complaints } = await visit(fakeHome());
      await page.goto(`${url}${at}`);
      await page.getByText(text).first().waitFor();
      await expectToFit(page);
      expect([await barriersOfBoth(page), complaints]).toEqual([[], []]);
    },
  );

  it('the deploy sheet has no barrier, as a form and as YAML', async () => {
    const { page, url } = await visit(fakeHome());
    await page.goto(url);
    await page.getByRole('button', { name: 'Deploy an app' }).click();
    await page.getByRole('textbox', { name: 'Image' }).fill('nginx:alpine');
    await page.getByRole('button', { name: 'Data', exact: true }).click();
    await page.getByRole('button', { name: 'Configuration text' }).click();
    await page.getByRole('button', { name: 'Add a variable' }).click();
    const form = await barriersOfBoth(page);
    await page.getByRole('tab', { name: 'YAML' }).click();
    await page.getByRole('textbox', { name: 'Resulting YAML' }).waitFor();
    expect([form, await barriersOfBoth(page)]).toEqual([[], []]);
  });
});

describe('the user interface', () => {
  it('changes in place when the cluster does', async () => {
    const { page, fake, url } = await visit([fakeNode('desk', { cpu: 4, memoryGi: 8 })]);
    await page.goto(url);
    await page.getByText('Your home is ready.').waitFor();
    fake.put(fakeNode('attic', { cpu: 4, memoryGi: 8 }));
    await page.getByText('2 machines').waitFor();
    fake.remove('nodes//attic');
    await page.getByText('1 machine').waitFor();
  });

  it('fills with the MB of an image that have come', async () => {
    const { page, url } = await visit(fakeHome());
    await page.goto(url);
    await page.getByText('Fetching its image: 62 of 180 MB').waitFor();
    const bar = page.getByRole('progressbar', { name: 'fetching its image: 62 of 180 MB' });
    expect(await bar.getAttribute('aria-valuenow')).toBe('34');
    await page.getByRole('link', { name: 'immich' }).click();
    await page.getByRole('progressbar', { name: 'fetching its image' }).waitFor();
  });

  it('hands a file of images to a machine, and says what became of it', async () => {
    const { page, url } = await visit(fakeHome());
    await page.goto(`${url}/machines/nuc`);
    await page.getByRole('button', { name: 'Load an image from a file' }).waitFor();
    const chosen = page.getByLabel('File with images');
    await chosen.setInputFiles({ name: 'web.tar', mimeType: '', buffer: Buffer.from('an image') });
    await page.getByText('my/web:1 is here now.').waitFor();
    await chosen.setInputFiles({ name: 'notes.txt', mimeType: '', buffer: Buffer.from('notes') });
    await page.getByRole('alert').getByText('this is no image archive').waitFor();
  });

  it('tells who keeps the state, and what still works without a majority', async () => {
    const { page, fake, url } = await visit(fakeHome());
    await page.goto(`${url}/machines`);
    await page.getByText('3 machines keep the state of this home; nuc leads.').waitFor();
    await page.getByText('thinkpad is away. If one more that votes is lost').waitFor();
    fake.tellMembers(fakeMembers(['nuc', 'pi-kitchen'], { 'pi-kitchen': { role: 'learner' } }));
    await page.getByText('It takes a third machine before the home survives').waitFor();
    const problem = 'No member leads: 2 of the voters nuc, pi-kitchen, thinkpad have to run.';
    const alone = { isLeader: false, health: 'unknown' as const };
    const lost = { nuc: { isLeader: false }, 'pi-kitchen': alone, thinkpad: alone };
    fake.tellMembers({ ...fakeMembers(['nuc', 'pi-kitchen', 'thinkpad'], lost), problem });
    const banner = page.getByRole('status').filter({ hasText: 'Nothing can be changed' });
    await banner.getByText(problem).waitFor();
    await banner.getByText('Apps that run go on running').waitFor();
    expect(await barriers(page)).toEqual([]);
    await banner.getByRole('button', { name: 'The others are gone…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Go on from this machine alone?' });
    await dialog.getByText('votes, last heard of 2 h ago').waitFor();
    const recover = dialog.getByRole('button', { name: 'Recover on this machine' });
    expect(await recover.isDisabled()).toBe(true);
    expect(await barriers(page)).toEqual([]);
    if (process.env['SCREENSHOTS'] !== undefined) await screenshots.take(page, 'recovery');
    await dialog.getByLabel('pi-kitchen and thinkpad do not run any more').check();
    await recover.click();
    await dialog.getByText('Flotilla starts again on this machine').waitFor();
    await dialog.getByRole('button', { name: 'Close' }).click();
    await page.getByRole('link', { name: 'Cluster' }).first().click();
    await page.getByText('No majority of the machines that decide').click();
    await page.getByText('voter · 192.168.1.20:7444').waitFor();
    await page.getByRole('link', { name: 'Home' }).first().click();
    await page.getByText('things need you').waitFor();
    fake.tellMembers(fakeMembers(['nuc', 'pi-kitchen', 'thinkpad']));
    await banner.waitFor({ state: 'hidden' });
  });

  it('shows the past that machines keep, as far back as is wanted', async () => {
    const { page, url, asked } = await visit(fakeHome());
    await page.goto(`${url}/machines/nuc`);
    await page.getByRole('img', { name: 'Processor, last hour' }).waitFor();
    await page.getByRole('button', { name: '14 days' }).click();
    const memory = page.getByRole('img', { name: 'Memory, last 14 days' });
    await memory.waitFor();
    await page.goto(`${url}${app}`);
    await page.getByRole('button', { name: '24 hours' }).click();
    await page.getByRole('img', { name: 'Processor, last 24 hours' }).waitFor();
    const ofCopies = asked.filter((one) => one.includes(' 24h default/web-'));
    expect([asked.slice(0, 2), ofCopies.length]).toEqual([['nuc 1h node', 'nuc 14d node'], 3]);
  });

  it('offers to install a container engine, and asks the machine for it', async () => {
    const ready = {
      status: 'False',
      reason: 'ContainerEngineMissing',
      message: 'no container engine',
    };
    const { page, url } = await visit([fakeNode('desk', { cpu: 4, memoryGi: 8, ready })]);
    await page.goto(url);
    await page.getByRole('button', { name: 'Install Docker' }).click();
    await page.getByText('desk is installing Docker').first().waitFor();
  });

  it('keeps what was entered when switching between form and YAML', async () => {
    const { page, url } = await visit(fakeHome());
    await page.goto(url);
    await page.getByRole('button', { name: 'Deploy an app' }).click();
    await page.getByRole('textbox', { name: 'Image' }).fill('nginx:alpine');
    await page.getByRole('tab', { name: 'YAML' }).click();
    const yaml = page.getByRole('textbox', { name: 'Resulting YAML' });
    await yaml.fill((await yaml.inputValue()).replace('replicas: 1', 'replicas: 4'));
    await page.getByRole('tab', { name: 'Form' }).click();
    expect(await page.getByRole('spinbutton', { name: 'Copies' }).inputValue()).toBe('4');
  });

  it('finds anything by Ctrl-K', async () => {
    const { page, url } = await visit(fakeHome());
    await page.goto(url);
    await page.getByText('things need you').waitFor();
    await page.keyboard.press('Control+k');
    await page.keyboard.type('jelly');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Jellyfin' }).waitFor();
  });

  it('tells what is left when only some of an app could be deleted, and tries that again', async () => {
    let isKept = true;
    const forbidden = { kind: 'Status', code: 403, reason: 'Forbidden', message: 'web is kept' };
    const keep = ({ kind }: FakeObject): object | undefined =>
      kind === 'Service' && isKept ? forbidden : undefined;
    const { page, url } = await visit(fakeHome(), { keep });
    await page.goto(`${url}${app}`);
    await page.getByRole('button', { name: 'Delete' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Delete Web' }).click();
    await dialog.getByText('web is kept').waitFor();
    await dialog.getByText('Some of Web is left').waitFor();
    isKept = false;
    await dialog.getByRole('button', { name: 'Delete the rest' }).click();
    await page.getByText('Web has been deleted').waitFor();
  });

  it('follows a new app in the sheet, takes a failure back and keeps what was entered', async () => {
    const { page, fake, url } = await visit(fakeHome());
    await page.goto(url);
    await page.getByRole('button', { name: 'Deploy an app' }).click();
    await page.getByRole('textbox', { name: 'Image' }).fill('redis:9');
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Deploy an app' }).click();
    await page.getByText('This is what you had entered').waitFor();
    await page.getByRole('button', { name: 'Deploy', exact: true }).click();
    await page.getByRole('progressbar', { name: 'Looking for a machine' }).waitFor();
    const copies = fakeApp('redis', { image: 'redis:9', state: 'image' });
    for (const pod of copies.filter(({ kind }) => kind === 'Pod'))
      fake.put({
        ...pod,
        metadata: { ...pod.metadata, labels: { 'app.kubernetes.io/name': 'redis' } },
      });
    await page.getByRole('dialog').getByText('manifest unknown').waitFor();
    await page.getByRole('button', { name: 'Change and try again' }).click();
    expect(await page.getByRole('textbox', { name: 'Image' }).inputValue()).toBe('redis:9');
  });

  it('opens a port from Settings, showing the change first', async () => {
    const { page, url } = await visit(fakeHome());
    await page.goto(`${url}/apps/deployment/default/immich?tab=settings`);
    await page.getByRole('checkbox', { name: 'Open it to my home' }).check();
    await page.getByText('inside the cluster only').waitFor();
    await page.getByRole('button', { name: 'Apply' }).click();
    await page.getByText('Saved.').waitFor();
    expect(await page.getByRole('checkbox', { name: 'Open it to my home' }).isChecked()).toBe(true);
  });

  it('undoes the last change from History, after showing what that means', async () => {
    const { page, url } = await visit(fakeHome());
    await page.goto(`${url}${app}?tab=history`);
    await page.getByRole('button', { name: 'Undo the last change' }).click();
    await page.getByLabel('Back to version 1').getByText('image: web:old').waitFor();
    expect(await barriers(page)).toEqual([]);
    await page.getByRole('button', { name: 'Bring it back' }).click();
    await page.getByTitle('web:old').waitFor();
  });

  it("changes an object's YAML after a dry run, and explains a conflict", async () => {
    const { page, fake, url } = await visit(fakeHome());
    await page.goto(`${url}/cluster/core/v1/services`);
    await page.getByRole('button', { name: 'web', exact: true }).click();
    await page.getByRole('button', { name: 'Edit' }).click();
    const editor = page.getByRole('textbox', { name: 'Edit the YAML' });
    await editor.fill((await editor.inputValue()).replace('port: 8080', 'port: 9090'));
    await page.getByRole('button', { name: 'Show what would change' }).click();
    await page.getByLabel('What would change').getByText('port: 9090').waitFor();
    expect(await barriers(page)).toEqual([]);
    const web = fakeApp('web', { image: 'x', nodePort: 30099 }).find(
      ({ kind }) => kind === 'Service',
    );
    if (web !== undefined) fake.put(web);
    await page.getByRole('button', { name: 'Apply' }).click();
    await page.getByText('Somebody else changed it').waitFor();
    await page.getByRole('button', { name: 'Keep my text' }).click();
    await page.getByRole('button', { name: 'Apply' }).click();
    await page.getByRole('button', { name: 'Edit' }).waitFor();
  });

  it('says calmly what to do in a browser that it does not know', async () => {
    const { page, url } = await visit([], { isSignedOut: true });
    await page.goto(url);
    await page.getByRole('heading', { name: 'This page is not signed in' }).waitFor();
    await page.getByText('starting Flotilla again prints a new one').waitFor();
    expect(await barriers(page)).toEqual([]);
  });

  it('says on the page for experts why it reads nothing', async () => {
    const { page, fake, url } = await visit(fakeHome());
    await page.goto(url);
    await page.getByText('things need you').waitFor();
    fake.signOut();
    await page.getByText('This page is not signed in').waitFor();
    await page.getByRole('link', { name: 'Cluster' }).first().click();
    await page.getByText('Not signed in, so nothing can be read').waitFor();
    expect(await page.getByText('Reading…').count()).toBe(0);
  });

  it('calls a row of the form wrong only after somebody left it', async () => {
    const refuse = ({ kind, spec }: FakeObject): object | undefined => {
      if (kind !== 'Deployment' || !JSON.stringify(spec).includes('"mountPath":""')) return;
      const field = 'spec.template.spec.containers[0].volumeMounts[0].mountPath';
      const causes = [{ field, message: 'Required value' }];
      return { kind: 'Status', code: 422, reason: 'Invalid', details: { causes } };
    };
    const { page, url } = await visit(fakeHome(), { refuse });
    await page.goto(url);
    await page.getByRole('button', { name: 'Deploy an app' }).click();
    await page.getByRole('textbox', { name: 'Image' }).fill('nginx:alpine');
    const refused = page.waitForResponse((response) => response.status() === 422);
    await page.getByRole('button', { name: 'Folder of a machine' }).click();
    await refused;
    const words = page.getByText('Say which folder of the app it is');
    expect(await words.count()).toBe(0);
    await page.getByRole('textbox', { name: 'Folder in the app' }).focus();
    await page.getByRole('textbox', { name: 'Folder on the machine' }).focus();
    expect(await words.count()).toBe(0);
    await page.getByRole('textbox', { name: 'Image' }).focus();
    await words.waitFor();
    await page.getByRole('textbox', { name: 'Folder in the app' }).fill('/data');
    await words.waitFor({ state: 'hidden' });
  });

  it('has search and theme within reach on a phone', async () => {
    const { page, url } = await visit(fakeHome());
    await page.setViewportSize({ width: widths.phone, height: 844 });
    await page.goto(url);
    await page.getByRole('button', { name: 'System theme' }).click();
    await page.getByRole('button', { name: 'Search' }).click();
    await page.getByRole('combobox', { name: 'Find anything' }).fill('jelly');
    await page
      .getByRole('option', { name: /Jellyfin/ })
      .first()
      .click();
    await page.getByRole('heading', { name: 'Jellyfin' }).waitFor();
  });
});

describe('a crowd of 200 apps with the longest names and 5,000 copies', () => {
  it('fits every width, on every page, and keeps the page answering', async () => {
    const crowd = fakeCrowd();
    // What they use is counted on one page: it costs more than the pages.
    let isMeasured = true;
    const stats = (node: string, nowMs: number) =>
      isMeasured ? fakeStats(node, nowMs, crowd) : undefined;
    const { page, url, complaints } = await visit(crowd, { stats });
    /** Thirty machines send a sample each second; the first of each is shown at once, whenever it comes. */
    async function isCalm(): Promise<void> {
      await page.setViewportSize({ width: widths.desktop, height: 900 });
      const sum = page.getByText(/^\d+(\.\d)?\s+cores/);
      await sum.first().waitFor();
      const changes = () => page.evaluate(changesInThreeSeconds);
      await expect.poll(changes, { timeout: 60_000, message: 'changes' }).toBeLessThan(15);
      isMeasured = false;
    }
    async function returnsToTheRow(): Promise<void> {
      const last = page.getByRole('link', { name: /-299$/ });
      await last.click();
      await page.getByRole('tab', { name: 'Logs' }).waitFor();
      await page.goBack();
      await last.waitFor();
      const offset = () => page.evaluate(() => scrollY);
      await expect.poll(offset, { timeout: 60_000 }).toBeGreaterThan(900);
    }
    async function drawsFew(): Promise<void> {
      expect(await page.getByRole('row').count(), 'rows drawn of 5,000').toBeLessThan(200);
    }
    const crowded = [
      { at: '/', text: '30 machines', shows: isCalm },
      { at: '/apps', text: '200 apps', shows: returnsToTheRow },
      { at: '/machines', text: '30 machines', shows: undefined },
      { at: '/cluster', text: '5000 objects', shows: drawsFew },
    ];
    for (const { at, text, shows } of crowded) {
      await page.goto(`${url}${at}`);
      await page.getByText(text).first().waitFor();
      for (const width of Object.values(widths)) {
        await page.setViewportSize({ width, height: 900 });
        expect(await page.evaluate(excessWidth), `${at} at ${width}`).toBeLessThanOrEqual(0);
      }
      await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight / 2));
      await page.evaluate(excessWidth);
      const longest = await page.evaluate(() =>
        Math.max(0, ...(globalThis as unknown as { longTasksMs: number[] }).longTasksMs),
      );
      // No measurement, other suites run meanwhile: only a page that has come to a halt is this slow.
      expect(longest, `longest task of ${at}, ms`).toBeLessThan(5000);
      await shows?.();
    }
    expect(complaints).toEqual([]);
  }, 300_000);
});
