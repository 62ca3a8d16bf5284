// Another device of the home: a network of its own with one cable to this machine, and nothing on it but
// a stock mDNS resolver (multicast-dns) and an HTTP client. Root only.
import { execFile, execFileSync, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { firstLine } from '../lab/held-network.ts';
import { root } from './machine.ts';

const execute = promisify(execFile);

/** Asks for the name by mDNS, then for the page at the address that was answered. */
export const visitProgram = `
const [own, name, port, withinMs] = process.argv.slice(1);
const mdns = require('multicast-dns')({ interface: own, bind: '0.0.0.0' });
const giveUp = setTimeout(() => { console.log('{}'); process.exit(); }, Number(withinMs));
const ask = () => mdns.query([{ name, type: 'A' }]);
const again = setInterval(ask, 300);
mdns.on('ready', ask);
mdns.on('response', ({ answers }) => {
  const found = answers.find((one) => one.type === 'A' && one.name.toLowerCase() === name && one.ttl > 0);
  if (found === undefined) return;
  clearInterval(again);
  clearTimeout(giveUp);
  mdns.destroy();
  require('http').get({ host: found.data, port, headers: { host: name }, agent: false }, (answer) => {
    let text = '';
    answer.setEncoding('utf8').on('data', (chunk) => (text += chunk)).on('end', () => {
      console.log(JSON.stringify({ address: found.data, status: answer.statusCode, text: text.trim() }));
    });
  });
});
`;

/** Has a name of its own, and says so to whoever asks. */
const claimProgram = `
const [own, name] = process.argv.slice(1);
const mdns = require('multicast-dns')({ interface: own, bind: '0.0.0.0' });
mdns.on('query', ({ questions }) => {
  if (questions.some((one) => one.name.toLowerCase() === name))
    mdns.respond([{ name, type: 'A', ttl: 120, flush: true, data: own }]);
});
mdns.on('ready', () => console.log('ready'));
`;

export interface Visit {
  /** Undefined: nobody answered for the name. */
  readonly address?: string;
  readonly status?: number;
  readonly text?: string;
}

export class HomeDevice {
  /** The cable's end on this machine, and its address. */
  readonly interface = `fltest-${process.pid % 100_000}`;
  readonly address = '10.77.9.1';
  readonly #own = '10.77.9.2';
  readonly #namespace = `flotilla-home-${process.pid}`;

  constructor() {
    const far = `${this.interface}p`;
    ip('netns', 'add', this.#namespace);
    ip('link', 'add', this.interface, 'type', 'veth', 'peer', 'name', far);
    ip('link', 'set', far, 'netns', this.#namespace);
    ip('address', 'add', `${this.address}/24`, 'dev', this.interface);
    ip('link', 'set', this.interface, 'up');
    for (const args of [
      ['link', 'set', 'lo', 'up'],
      ['address', 'add', `${this.#own}/24`, 'dev', far],
      ['link', 'set', far, 'up'],
      ['route', 'add', '224.0.0.0/4', 'dev', far],
    ])
      ip('-n', this.#namespace, ...args);
  }

  /** Opens `http://name:port` as a browser there would. */
  async visit(name: string, port: number, withinMs = 5_000): Promise<Visit> {
    const args = [
      process.execPath,
      '-e',
      visitProgram,
      this.#own,
      name,
      String(port),
      String(withinMs),
    ];
    const inside = ['netns', 'exec', this.#namespace, ...args];
    const { stdout } = await execute('ip', inside, { cwd: root, timeout: withinMs + 10_000 });
    return JSON.parse(stdout) as Visit;
  }

  /** Is called so from now on; until the function that is answered is called. */
  async claim(name: string): Promise<() => void> {
    const inside = ['netns', 'exec', this.#namespace, process.execPath, '-e', claimProgram];
    const child = spawn('ip', [...inside, this.#own, name], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await firstLine(child, `a device called ${name}`);
    return () => void child.kill();
  }

  destroy(): void {
    ip('netns', 'delete', this.#namespace);
  }
}

function ip(...args: readonly string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' });
}
