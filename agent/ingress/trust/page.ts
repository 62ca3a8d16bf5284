// The page itself: one file, no scripts. The device that asks comes first and is open, the others are folded.
// Colours and shapes are those of the app (renderer/style.css).
export interface TrustPage {
  /** Where the files are. */
  readonly folder: string;
  /** Of this page, for other devices; undefined: as it was asked for, nobody else can. */
  readonly address: string | undefined;
  /** An SVG of `address`. */
  readonly qr: string | undefined;
  readonly fingerprint: string;
  readonly domains: readonly string[];
  readonly validTo: string;
  readonly userAgent: string;
}

interface System {
  readonly name: string;
  readonly file: string;
  readonly button: string;
  /** HTML of our own. */
  readonly steps: readonly string[];
}

const firefox =
  'Firefox on a computer keeps a list of its own: Settings → Privacy &amp; Security → View Certificates → Authorities → Import.';

const systems: Readonly<Record<string, System>> = {
  ios: {
    name: 'iPhone and iPad',
    file: 'flotilla-apps.mobileconfig',
    button: 'Get the profile',
    steps: [
      'Open this page in <b>Safari</b> and get the profile. Allow the download.',
      'Open <b>Settings → Profile Downloaded</b> and install it.',
      'Go to <b>Settings → General → About → Certificate Trust Settings</b> and switch it on.',
    ],
  },
  android: {
    name: 'Android',
    file: 'flotilla-apps.crt',
    button: 'Get the certificate',
    steps: [
      'Get the certificate. It lands in your downloads.',
      'Open <b>Settings</b>, search for <b>CA certificate</b>, choose <b>Install anyway</b>, and pick the file.',
      'Browsers trust it then. Other apps may not: Android leaves that to each of them.',
    ],
  },
  mac: {
    name: 'Mac',
    file: 'flotilla-apps.mobileconfig',
    button: 'Get the profile',
    steps: [
      'Get the profile and open it.',
      'Open <b>System Settings → General → Device Management</b> and install it.',
      firefox,
    ],
  },
  windows: {
    name: 'Windows',
    file: 'flotilla-apps.crt',
    button: 'Get the certificate',
    steps: [
      'Get the certificate, open it, and choose <b>Install Certificate</b>.',
      'Choose <b>Place all certificates in the following store</b>, then <b>Trusted Root Certification Authorities</b>.',
      firefox,
    ],
  },
  linux: {
    name: 'Linux',
    file: 'flotilla-apps.pem',
    button: 'Get the certificate',
    steps: [
      'Chrome and Chromium: <b>chrome://certificate-manager</b> → Local certificates → Custom → Import.',
      firefox,
      'Everything else, on Debian and Ubuntu:<code>sudo cp flotilla-apps.pem /usr/local/share/ca-certificates/flotilla-apps.crt\nsudo update-ca-certificates</code>',
    ],
  },
};

/** iPads call themselves Macs: their owners see both. */
function systemOf(userAgent: string): string {
  if (/iPhone|iPad|iPod/.test(userAgent)) return 'ios';
  if (userAgent.includes('Android')) return 'android';
  if (userAgent.includes('Windows')) return 'windows';
  if (userAgent.includes('Mac OS')) return 'mac';
  return 'linux';
}

export function trustPage(page: TrustPage): string {
  const own = systemOf(page.userAgent);
  const others = Object.keys(systems).filter((one) => one !== own);
  const names = list(page.domains.map((domain) => `<b>.${domain}</b>`));
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Trust the apps of this home</title>
<style>${style}</style>
<main>
<header>${mark}<span>Flotilla</span></header>
<h1>Trust the apps of this home</h1>
<p class="lead">Then they open over https on this device, encrypted and without a warning. Once for each device is enough.</p>
<section class="card">${systemHtml(own, page.folder, true)}</section>
${qrHtml(page)}
<h2>Another device</h2>
<section class="card folds">
${others.map((one) => `<details><summary>${systems[one]?.name}</summary>${systemHtml(one, page.folder, false)}</details>`).join('\n')}
</section>
<h2>What you trust</h2>
<section class="card facts">
<p>This home’s own certificate authority. It can vouch only for names that end in ${names}: never for your bank, your mail or any other site.</p>
<p>This page came unencrypted, so compare its fingerprint before you install:</p>
<p class="print" translate="no">${printHtml(page.fingerprint)}</p>
<p>On a machine of yours, the same is shown by<code>kubectl describe configmap -n kube-public flotilla-apps-ca</code></p>
<p class="quiet">Good until <time>${page.validTo}</time>. To undo it, remove the certificate or profile where you installed it.</p>
</section>
</main>
</html>
`;
}

function systemHtml(key: string, folder: string, isOwn: boolean): string {
  const system = systems[key];
  if (system === undefined) return '';
  const title = isOwn ? `<h2>${system.name}</h2>` : '';
  const steps = system.steps.map((step) => `<li>${step}</li>`).join('');
  const kind = isOwn ? 'button' : 'button soft';
  return `${title}<a class="${kind}" href="${folder}/${system.file}">${system.button}</a><ol>${steps}</ol>`;
}

function qrHtml({ address, qr }: TrustPage): string {
  if (address === undefined || qr === undefined) return '';
  return `<section class="card qr">${qr}<p><b>A phone or tablet?</b><br>Point its camera here to open this page there.<br><span class="quiet">${address}</span></p></section>`;
}

/** Two bytes a group: as people read them out. */
function printHtml(fingerprint: string): string {
  const groups = fingerprint.replaceAll(':', '').match(/.{4}/g) ?? [];
  return groups.map((group) => `<span>${group}</span>`).join(' ');
}

function list(items: readonly string[]): string {
  const last = items.at(-1) ?? '';
  return items.length < 2 ? last : `${items.slice(0, -1).join(', ')} and ${last}`;
}

/** A small sail, as in the app. */
const mark =
  '<svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true"><rect width="32" height="32" rx="9" fill="#0d686a"/><path d="M15 6.5 8.2 18.2H15zM17.4 9.6l5.9 8.6h-5.9z" fill="#fff"/><path d="M6.4 20.6h19.2c-1 2.9-3.3 4.6-6.4 4.6h-6.4c-3.1 0-5.4-1.7-6.4-4.6z" fill="#9fdcd5"/></svg>';

const style = `
:root { color-scheme: light dark;
  --canvas: light-dark(#f6f5f1, #101516); --surface: light-dark(#ffffff, #182021);
  --sunken: light-dark(#eeece6, #0c1011); --line: light-dark(#e4e1d9, #293435);
  --text: light-dark(#1b2423, #e9edec); --quiet: light-dark(#58625f, #a0acab);
  --accent: light-dark(#0d686a, #62c8c1); --strong: light-dark(#094f51, #86dad4);
  --soft: light-dark(#dfeeeb, #16312f); --on-accent: light-dark(#ffffff, #05201f);
  --shadow: light-dark(rgb(40 45 40 / 7%), rgb(0 0 0 / 35%)) }
* { box-sizing: border-box }
body { margin: 0; background: var(--canvas); color: var(--text);
  font: 16px/1.5 'Inter Variable', Inter, system-ui, sans-serif; -webkit-text-size-adjust: 100% }
main { max-width: 40rem; margin: 0 auto; padding: 1.75rem 1.25rem 4rem }
header { display: flex; align-items: center; gap: .6rem; font-weight: 600; margin-bottom: 2.25rem }
h1 { font-size: 1.75rem; line-height: 1.25; letter-spacing: -.015em; margin: 0 0 .5rem; text-wrap: balance }
h2 { font-size: 1rem; margin: 2rem 0 .6rem }
.card > h2:first-child { font-size: 1.25rem; margin: 0 0 1rem }
.lead { color: var(--quiet); margin: 0 0 1.5rem; text-wrap: pretty }
.card { background: var(--surface); border: 1px solid var(--line); border-radius: 12px; padding: 1.25rem;
  box-shadow: 0 1px 2px var(--shadow), 0 4px 16px -6px var(--shadow); margin-bottom: 1rem }
.button { display: block; text-align: center; text-decoration: none; font-weight: 600; padding: .7rem 1.1rem;
  border-radius: 10px; background: var(--accent); color: var(--on-accent) }
.button:hover { background: var(--strong) }
.button.soft { background: var(--soft); color: var(--strong) }
.button:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
ol { margin: 1rem 0 0; padding-left: 1.5rem }
li { margin-top: .5rem; padding-left: .25rem }
li::marker { color: var(--quiet); font-variant-numeric: tabular-nums }
code { display: block; margin-top: .4rem; padding: .7rem .85rem; border-radius: 8px; background: var(--sunken);
  font: 13px/1.6 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
.folds { padding: 0 }
.folds details + details { border-top: 1px solid var(--line) }
.folds summary { padding: .9rem 1.25rem; font-weight: 500; cursor: pointer; border-radius: 12px }
.folds details > :not(summary) { margin-left: 1.25rem; margin-right: 1.25rem }
.folds ol { margin-bottom: 1.25rem }
.qr { display: none; align-items: center; gap: 1.25rem }
.qr svg { width: 8rem; height: 8rem; flex: none; background: #fff; border-radius: 8px }
.qr p { margin: 0; min-width: 0; overflow-wrap: anywhere }
.quiet { color: var(--quiet); font-size: .875rem }
.facts p { margin: 0 0 .75rem; text-wrap: pretty }
.facts p:last-child { margin: 0 }
.print { display: grid; grid-template-columns: repeat(auto-fill, minmax(3.4rem, 1fr)); gap: .2rem .4rem;
  padding: .8rem 1rem; border-radius: 8px; background: var(--sunken);
  font: 15px/1.6 ui-monospace, monospace; font-variant-numeric: tabular-nums }
@media (min-width: 40rem) {
  main { padding-top: 3.5rem }
  .qr { display: flex }
  .button { display: inline-block }
}
@media (min-width: 30rem) { .print { grid-template-columns: repeat(8, 1fr) } }
`;
